"""Rows into SQLite: Python reads and checks the values, in one transaction.

A thread reads a chunk, then the driver's own writes it. Both at once would take longer: the driver
lets go of the interpreter for each statement, and gets it back only when the other is told to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.database.row_counts import counting_inserts
from oneoff.services.data.imports.errors import Problem, bad_rows, problem_of
from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.imports.readers.base import Parsed
from oneoff.services.data.imports.request import Imported
from oneoff.services.data.imports.sqlite.multi_row_insert import ManyRows
from oneoff.services.data.imports.sqlite.self_references import OwnReferences
from oneoff.services.data.imports.sqlite.values import BadValue, convert
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread, undivided

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Advance, Reader
    from oneoff.services.data.imports.readers.csv_reader import Cells, Chunk
    from oneoff.services.data.imports.rejects import Rejects

_STATES = {
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
    "SQLITE_CONSTRAINT_ROWID": "23505",
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_CHECK": "23514",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
}
Bad = tuple[int, Problem]
"""The place of a row in its chunk, and what is wrong with it."""
Refusal = tuple[int, str, str]
"""The place of a row among those written, a SQLSTATE, and what SQLite said."""


class _Ready(NamedTuple):
    """A chunk whose values have been read.

    Attributes:
        chunk: The rows.
        parsed: The cells of those that could be read.
        values: The values of those, by written column.
        bad: The other rows.
    """

    chunk: Chunk
    parsed: Parsed
    values: Sequence[Sequence[Any]]
    bad: Sequence[Bad]


class SqliteImport:
    """One import, in the transaction of a connection."""

    def __init__(self, driver: Any, plan: Plan, reader: Reader, rejects: Rejects) -> None:
        self._driver, self._plan, self._reader, self._rejects = driver, plan, reader, rejects
        marks = ", ".join("?" * len(plan.written))
        self._insert = plan.insert(f"VALUES ({marks})")
        key = ", ".join(map(quote, plan.key))
        self._seen = f"INSERT INTO temp.{STAGING} VALUES ({', '.join('?' * len(plan.key))})"  # noqa: S608
        self._make_seen = f"CREATE TEMP TABLE {STAGING} ({key}, PRIMARY KEY ({key})) WITHOUT ROWID"
        names = [column.name for column in plan.written]
        self._key_at = [names.index(name) for name in plan.key]
        self._many_rows: ManyRows | None = None
        self.total = self.changed = 0

    async def run(self, advance: Advance) -> Imported:
        """Import all rows of the reader.

        Args:
            advance: Is told of each chunk that is done.

        Raises:
            DataError: A row can't be, and bad rows are not left out.
        """
        own = None
        if not self._rejects.wanted:
            own = await OwnReferences.of(self._driver, self._plan)
            self._many_rows = await ManyRows.of(self._driver, self._plan)
        if self._plan.on_conflict == "update":
            await self._driver.execute(self._make_seen)
            await self._all(advance, [])
            await self._driver.execute(f"DROP TABLE temp.{STAGING}")
        else:
            async with counting_inserts(self._driver, self._plan.table.place[1]) as inserted:
                await self._all(advance, inserted)
        if own is not None:
            await own.check(self._reader)
        return Imported(self.total, self.changed)

    async def _all(self, advance: Advance, changed: list[int]) -> None:
        chunks = self._reader.chunks()
        # A run that is stopped waits for the thread: it reads the file, which is then closed.
        while (ready := await undivided(self._next(chunks), _leave)) is not None:
            changed.append(await self.write(ready))
            advance(ready.chunk)

    async def write(self, ready: _Ready) -> int:
        """Write one chunk, and return how many rows it changed; leave out what is bad, or raise it.

        Raises:
            DataError: A row is bad, and bad rows are not left out.
        """
        bad, good = [*ready.bad], ready
        self._give_up(bad)
        if self._plan.on_conflict == "update":
            keys = [good.values[at] for at in self._key_at]
            _, twice = await self._many(self._seen, keys, "twice")
            bad += [self._bad(good, *refusal) for refusal in twice]
            self._give_up(bad)
            good = _without(good, {at for at, _, _ in twice})
        changed, refused = await self._many(self._insert, good.values)
        bad += [self._bad(good, *refusal) for refusal in refused]
        self._give_up(bad)
        for place, problem in sorted(bad):
            await self._rejects.add(ready.chunk.raws[place], problem)
        self.total += len(ready.chunk.raws)
        self.changed += changed
        return changed

    def _give_up(self, bad: Sequence[Bad]) -> None:
        if bad and not self._rejects.wanted:
            raise bad_rows(self._reader.source.name, [problem for _, problem in sorted(bad)])

    async def _next(self, chunks: Iterator[Chunk]) -> _Ready | None:
        def read() -> _Ready | None:
            chunk = next(chunks, None)
            return None if chunk is None else self.read(chunk)

        return await in_daemon_thread(read)

    def read(self, chunk: Chunk) -> _Ready:
        """Read the values of a chunk; blocks."""
        parsed = self._reader.parse(chunk, self._plan)
        try:
            return _Ready(chunk, parsed, self._values(parsed.columns), parsed.bad)
        except BadValue:
            return self._one_by_one(chunk, parsed)

    def _values(self, columns: Sequence[Sequence[str | None]]) -> list[Sequence[Any]]:
        pairs = zip(self._plan.columns, columns, strict=False)
        return [convert(column, cells) for column, cells in pairs if column is not None]

    def _one_by_one(self, chunk: Chunk, parsed: Parsed) -> _Ready:
        """Read the rows of a chunk in which some value is bad, and note each that is."""
        bad, good = [*parsed.bad], []
        for at, place in enumerate(parsed.at):
            problem = self._problem(chunk.record(place).line, parsed.row(at))
            if problem is None:
                good.append(at)
            else:
                bad.append((place, problem))
        columns = [[column[at] for at in good] for column in parsed.columns]
        kept = Parsed([parsed.at[at] for at in good], columns, bad)
        return _Ready(chunk, kept, self._values(columns), bad)

    def _problem(self, line: int, row: Cells) -> Problem | None:
        for column, cell in zip(self._plan.columns, row, strict=True):
            if column is None:
                continue
            try:
                convert(column, (cell,))
            except BadValue as exc:
                return problem_of(exc.state, [column], [cell], line=line)
        return None

    async def _many(
        self, statement: str, columns: Sequence[Sequence[Any]], state: str = ""
    ) -> tuple[int, list[Refusal]]:
        """Run a statement for each row; return the rows it changed, and those that are refused.

        A row that is refused ends the call of the driver, which then doesn't say how many rows it
        has changed: those before are done again, in a savepoint.
        """
        changed, start, refused = 0, 0, list[Refusal]()
        count = len(columns[0]) if columns else 0
        if self._many_rows and count:
            changed = start = await self._many_rows.insert(columns)
        while start < count:
            rows = [iter(column[start:]) for column in columns]
            await self._mark("SAVEPOINT")
            try:
                changed += await self._execute(statement, rows)
            except sqlite3.IntegrityError as exc:
                failed = count - length_hint(rows[0]) - 1
                refused.append((failed, state or _STATES.get(exc.sqlite_errorname, ""), str(exc)))
                if not self._rejects.wanted:
                    return changed, refused
                await self._mark("ROLLBACK TO")
                changed += await self._execute(statement, [c[start:failed] for c in columns])
                start = failed + 1
            else:
                start = count
            await self._mark("RELEASE")
        return changed, refused

    async def _mark(self, what: str) -> None:
        """Act on a savepoint, where one is needed: with one, writing takes twice as long."""
        if self._rejects.wanted:
            await self._driver.execute(f"{what} {STAGING}")

    async def _execute(self, statement: str, columns: Sequence[Iterable[Any]]) -> int:
        cursor = await self._driver.executemany(statement, zip(*columns, strict=False))
        count: int = cursor.rowcount
        await cursor.close()
        return max(count, 0)

    def _bad(self, ready: _Ready, at: int, state: str, text: str) -> Bad:
        """Return what is wrong with a row that SQLite refused, which says so in its text."""
        where = text.partition(" failed: ")[2]
        names = [name.rpartition(".")[2] for name in where.split(", ")]
        if state == "twice":
            names = list(self._plan.key)
        at_file = [self._plan.names.index(name) for name in names if name in self._plan.names]
        columns = [column for i in at_file if (column := self._plan.columns[i]) is not None]
        values = [ready.parsed.columns[i][at] for i in at_file]
        constraint = where if state == _STATES["SQLITE_CONSTRAINT_CHECK"] else ""
        place = ready.parsed.at[at]
        line = ready.chunk.record(place).line
        return place, problem_of(state, columns, values, line=line, constraint=constraint)


def _without(ready: _Ready, left_out: set[int]) -> _Ready:
    """Return a chunk without some of its rows."""
    if not left_out:
        return ready
    kept = [at for at in range(len(ready.parsed.at)) if at not in left_out]
    columns = [[column[at] for at in kept] for column in ready.parsed.columns]
    parsed = Parsed([ready.parsed.at[at] for at in kept], columns, ready.parsed.bad)
    values = [[column[at] for at in kept] for column in ready.values]
    return ready._replace(parsed=parsed, values=values)


async def _leave(_: _Ready | None) -> None:
    """Do nothing with a chunk that nobody wants any more."""


async def import_sqlite(
    connection: AsyncConnection, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> Imported:
    """Import a whole file in the connection's transaction."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    return await SqliteImport(driver, plan, reader, rejects).run(advance)
