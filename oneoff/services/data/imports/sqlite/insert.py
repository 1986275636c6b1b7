"""Import rows into SQLite in one transaction. Python converts and checks the values.

One thread reads a chunk, then the driver's thread writes it. Doing both at the same time would take
longer: for each statement the driver releases the interpreter's lock, and would then wait until the
other thread releases it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.database import sqlstates
from oneoff.database.row_counts import counting_inserts
from oneoff.services.data.driver import driver_connection
from oneoff.services.data.imports.errors import DUPLICATE_IN_FILE, Problem, bad_rows, problem_of
from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.sqlite.multi_row_insert import MultiRowInsert
from oneoff.services.data.imports.sqlite.self_references import SelfReferences
from oneoff.services.data.imports.sqlite.values import BadValue, convert
from oneoff.services.data.imports.summary import ImportSummary
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread, undivided

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import (
        Advance,
        BadRow,
        Chunk,
        Parsed,
        Reader,
        Row,
    )
    from oneoff.services.data.imports.rejects import Rejects

_STATES = {
    "SQLITE_CONSTRAINT_UNIQUE": sqlstates.UNIQUE_VIOLATION,
    "SQLITE_CONSTRAINT_PRIMARYKEY": sqlstates.UNIQUE_VIOLATION,
    "SQLITE_CONSTRAINT_ROWID": sqlstates.UNIQUE_VIOLATION,
    "SQLITE_CONSTRAINT_NOTNULL": sqlstates.NOT_NULL_VIOLATION,
    "SQLITE_CONSTRAINT_CHECK": sqlstates.CHECK_VIOLATION,
    "SQLITE_CONSTRAINT_FOREIGNKEY": sqlstates.FOREIGN_KEY_VIOLATION,
}
_SAVEPOINT = "oneoff_import"
_KEYS_TABLE = "oneoff_import_keys"
"""Temporary table with the keys of the rows so far, for `--on-conflict update`."""

Refusal = tuple[int, str, str]
"""The position of a row among the converted rows, a SQLSTATE, and SQLite's message."""


class _Converted(NamedTuple):
    """A chunk with converted values.

    Attributes:
        chunk: All rows of the chunk.
        parsed: The cells of the rows that could be converted, and the bad rows.
        values: For each written column, the values of the converted rows.
    """

    chunk: Chunk
    parsed: Parsed
    values: Sequence[Sequence[Any]]


class SqliteImport:
    """One import in the transaction of a connection."""

    def __init__(self, driver: Any, plan: Plan, reader: Reader, rejects: Rejects) -> None:
        self._driver, self._plan, self._reader, self._rejects = driver, plan, reader, rejects
        self._insert = insert_statement(plan, f"VALUES ({', '.join('?' * len(plan.written))})")
        names = [column.name for column in plan.written]
        self._key_positions = [names.index(name) for name in plan.key]
        self._multi_row: MultiRowInsert | None = None
        self._total = self._changed = 0

    async def run(self, advance: Advance) -> ImportSummary:
        """Import all rows of the reader.

        Args:
            advance: Called with each chunk after it has been written.

        Raises:
            DataError: A row can't be imported, and `--rejects` was not given.
        """
        self_references = None
        if not self._rejects.enabled:
            self_references = await SelfReferences.of(self._driver, self._plan)
            self._multi_row = await MultiRowInsert.of(self._driver, self._plan)
        if self._plan.on_conflict == "update":
            # Without the table of keys, a row whose key is in the file twice would be updated twice
            # without an error.
            key = ", ".join(map(quote, self._plan.key))
            await self._driver.execute(
                f"CREATE TEMP TABLE {_KEYS_TABLE} ({key}, PRIMARY KEY ({key})) WITHOUT ROWID"
            )
            await self._write_all(advance, [])
            await self._driver.execute(f"DROP TABLE temp.{_KEYS_TABLE}")
        else:
            name = self._plan.table.schema_and_name[1]
            async with counting_inserts(self._driver, name) as inserted:
                await self._write_all(advance, inserted)
        if self_references is not None:
            await self_references.check(self._reader)
        return ImportSummary(self._total, self._changed)

    async def _write_all(self, advance: Advance, changed: list[int]) -> None:
        """Write all chunks, and append the number of changed rows of each one to `changed`."""
        chunks = self._reader.chunks()
        # A cancelled run waits for the thread. Otherwise the file would be closed while it reads.
        while (converted := await undivided(self._read_next(chunks), _discard)) is not None:
            changed.append(await self._write(converted))
            advance(converted.chunk)

    async def _read_next(self, chunks: Iterator[Chunk]) -> _Converted | None:
        def read() -> _Converted | None:
            chunk = next(chunks, None)
            return None if chunk is None else self._converted(chunk)

        return await in_daemon_thread(read)

    async def _write(self, converted: _Converted) -> int:
        """Write one chunk, add its bad rows to the rejects, and return the number of changed rows.

        Raises:
            DataError: A row is bad, and `--rejects` was not given.
        """
        bad, good = [*converted.parsed.bad], converted
        self._raise_unless_rejected(bad)
        if self._plan.on_conflict == "update":
            keys = [good.values[position] for position in self._key_positions]
            insert_key = f"INSERT INTO temp.{_KEYS_TABLE} VALUES ({', '.join('?' * len(keys))})"  # noqa: S608
            _, duplicates = await self._execute_rows(insert_key, keys, DUPLICATE_IN_FILE)
            bad += [self._bad_row(good, *refusal) for refusal in duplicates]
            self._raise_unless_rejected(bad)
            good = _without(good, {position for position, _, _ in duplicates})
        changed, refused = await self._execute_rows(self._insert, good.values)
        bad += [self._bad_row(good, *refusal) for refusal in refused]
        self._raise_unless_rejected(bad)
        for at, problem in sorted(bad):
            await self._rejects.add(converted.chunk.raw_rows[at], problem)
        self._total += len(converted.chunk.raw_rows)
        self._changed += changed
        return changed

    def _raise_unless_rejected(self, bad: Sequence[BadRow]) -> None:
        if bad and not self._rejects.enabled:
            raise bad_rows(self._reader.source.name, [problem for _, problem in sorted(bad)])

    def _converted(self, chunk: Chunk) -> _Converted:
        parsed = self._reader.parse(chunk, self._plan)
        try:
            return _Converted(chunk, parsed, self._values(parsed.columns))
        except BadValue:
            return self._converted_by_row(chunk, parsed)

    def _values(self, columns: Sequence[Sequence[str | None]]) -> list[Sequence[Any]]:
        pairs = zip(self._plan.columns, columns, strict=False)
        return [convert(column, cells) for column, cells in pairs if column is not None]

    def _converted_by_row(self, chunk: Chunk, parsed: Parsed) -> _Converted:
        """Convert a chunk that contains a bad value row by row, to find all bad rows."""
        bad, good = [*parsed.bad], []
        for position, at in enumerate(parsed.indexes):
            problem = self._problem(chunk.raw_row(at).line, parsed.row(position))
            if problem is None:
                good.append(position)
            else:
                bad.append((at, problem))
        kept = parsed.keep(good)._replace(bad=bad)
        return _Converted(chunk, kept, self._values(kept.columns))

    def _problem(self, line: int, row: Row) -> Problem | None:
        for column, cell in zip(self._plan.columns, row, strict=True):
            if column is None:
                continue
            try:
                convert(column, (cell,))
            except BadValue as exc:
                return problem_of(exc.state, [column], [cell], line=line)
        return None

    async def _execute_rows(
        self, statement: str, columns: Sequence[Sequence[Any]], state: str = ""
    ) -> tuple[int, list[Refusal]]:
        """Execute a statement for each row; return the number of changed rows, and the refusals.

        A refused row ends `executemany`, which then does not return how many rows it had changed.
        So these rows are rolled back to a savepoint and written again without the refused row.

        Args:
            statement: Has one parameter for each column.
            columns: The values of each column.
            state: The SQLSTATE for refused rows; empty to derive it from SQLite's error.
        """
        changed, start, refused = 0, 0, list[Refusal]()
        count = len(columns[0]) if columns else 0
        if self._multi_row and count:
            changed = start = await self._multi_row.insert(columns)
        while start < count:
            rows = [iter(column[start:]) for column in columns]
            await self._savepoint("SAVEPOINT")
            try:
                changed += await self._execute(statement, rows)
            except sqlite3.IntegrityError as exc:
                # The driver takes rows from the iterators one at a time, so the number of values
                # that are left shows which row was refused.
                failed = count - length_hint(rows[0]) - 1
                refused.append((failed, state or _STATES.get(exc.sqlite_errorname, ""), str(exc)))
                if not self._rejects.enabled:
                    return changed, refused
                # ROLLBACK TO keeps the savepoint, which is released at the end of the loop's body.
                await self._savepoint("ROLLBACK TO")
                changed += await self._execute(statement, [c[start:failed] for c in columns])
                start = failed + 1
            else:
                start = count
            await self._savepoint("RELEASE")
        return changed, refused

    async def _savepoint(self, action: str) -> None:
        # Not needed if a refused row ends the import. Inside a savepoint writing takes twice as
        # long, because SQLite copies each page before it changes it.
        if self._rejects.enabled:
            await self._driver.execute(f"{action} {_SAVEPOINT}")

    async def _execute(self, statement: str, columns: Sequence[Iterable[Any]]) -> int:
        cursor = await self._driver.executemany(statement, zip(*columns, strict=False))
        count: int = cursor.rowcount
        await cursor.close()
        return max(count, 0)

    def _bad_row(self, converted: _Converted, position: int, state: str, message: str) -> BadRow:
        """Describe what is wrong with a row that SQLite refused."""
        # Only the message names the columns: "UNIQUE constraint failed: users.email, users.team".
        where = message.partition(" failed: ")[2]
        names = [name.rpartition(".")[2] for name in where.split(", ")]
        if state == DUPLICATE_IN_FILE:
            names = list(self._plan.key)
        cell_positions = self._plan.positions(names)
        columns = self._plan.written_at(cell_positions)
        values = [converted.parsed.columns[cell][position] for cell in cell_positions]
        constraint = where if state == _STATES["SQLITE_CONSTRAINT_CHECK"] else ""
        at = converted.parsed.indexes[position]
        line = converted.chunk.raw_row(at).line
        return at, problem_of(state, columns, values, line=line, constraint=constraint)


def _without(converted: _Converted, positions: set[int]) -> _Converted:
    """Return a chunk without the rows at these positions."""
    if not positions:
        return converted
    kept = [at for at in range(len(converted.parsed.indexes)) if at not in positions]
    values = [[column[at] for at in kept] for column in converted.values]
    return converted._replace(parsed=converted.parsed.keep(kept), values=values)


async def _discard(_: _Converted | None) -> None:
    """Do nothing: reading a chunk needs no cleanup."""


async def import_sqlite(
    connection: AsyncConnection, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> ImportSummary:
    """Import an entire file in the connection's transaction."""
    driver = await driver_connection(connection)
    return await SqliteImport(driver, plan, reader, rejects).run(advance)
