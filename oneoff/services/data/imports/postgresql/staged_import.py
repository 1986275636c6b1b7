"""Import rows into PostgreSQL through staging tables, to find the bad rows.

This is for formats that COPY can't read (JSON, Parquet), and for `--rejects`. The steps:

1. COPY loads a chunk of rows as text into a temporary table, `TEXTS_TABLE`.
2. `chunk_function` casts the texts, and inserts the rows with one statement into `STAGING_TABLE`,
   which has the target's types. Only if this fails, the server inserts the chunk row by row, and
   stores the bad rows in `ERRORS_TABLE`.
3. When all chunks are staged, one INSERT writes the rows into the target. If the target refuses
   some, `refused_rows` moves them to `ERRORS_TABLE`.
4. The bad rows are written to the rejects, and one INSERT writes the others into the target.

So a value of a wrong type slows down only its own chunk. Everything else is checked by the table
itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.database.errors import sqlstate_of
from oneoff.database.row_counts import subtract_counts
from oneoff.services.data.driver import copy_source, driver_with_settings
from oneoff.services.data.imports.errors import (
    ROW_ERRORS,
    TRIGGER,
    Problem,
    bad_rows,
    problem_of,
    refused_by_trigger,
)
from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.postgresql.chunk_function import (
    CHUNK_FUNCTION,
    create_chunk_function,
)
from oneoff.services.data.imports.postgresql.refused_rows import RefusedRows
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.postgresql.staging_table import (
    ERRORS_TABLE,
    NUMBER_COLUMN,
    ROW_SECURITY,
    SAVEPOINT,
    STAGING_TABLE,
    TEXTS_TABLE,
    create_staging_table,
)
from oneoff.services.data.imports.readers.base import SEPARATOR
from oneoff.services.data.imports.source import iterate_in_thread
from oneoff.services.data.imports.summary import ImportSummary
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Advance, Chunk, Reader
    from oneoff.services.data.imports.rejects import Rejects

_ERRORS_A_READ = 1_000
_CREATE_ERRORS_TABLE = (
    f"CREATE TEMP TABLE {ERRORS_TABLE} "
    "(number bigint, state text, columns text[], constraint_name text, "
    "waits boolean DEFAULT false) ON COMMIT DROP"
)


_REFUSALS = (*ROW_ERRORS, sqlstates.CARDINALITY_VIOLATION, sqlstates.INSUFFICIENT_PRIVILEGE)
"""SQLSTATEs, or their classes, of an INSERT whose rows are then tried one by one. A cardinality
violation is an update of two rows with the same key."""
_SQLSTATE_LENGTH = 5
"""A state of another length is one of oneoff's own words, for a row that Python found bad."""
_UNTRANSLATABLE = sqlstates.UNTRANSLATABLE_CHARACTER
_TEXT_ERRORS = (sqlstates.INVALID_TEXT_REPRESENTATION, _UNTRANSLATABLE)


class StagedImport:
    """One import in the transaction of a connection.

    Args:
        driver: asyncpg's connection.
        plan: What is imported.
        reader: The reader of the file.
        rejects: The rejects of the import.
        work: The transaction of the run, if bad rows are rejected: what was tried with them must
            not be counted.
    """

    def __init__(
        self,
        driver: Any,
        plan: Plan,
        reader: Reader,
        rejects: Rejects,
        work: WorkTransaction | None = None,
    ) -> None:
        self._driver, self._plan, self._reader, self._rejects = driver, plan, reader, rejects
        self._work = work
        self._total = 0

    async def run(self, advance: Advance) -> ImportSummary:
        """Import all rows of the reader.

        Args:
            advance: Called with each chunk after it has been loaded.

        Raises:
            DataError: A row can't be imported, and `--rejects` was not given.
        """
        await self._create_tables(into_target=False)
        await self._load_all(advance)
        changed = await self._insert()
        await self._drop_tables()
        warnings = await move_sequences(self._driver, self._plan)
        return ImportSummary(self._total, changed, warnings=warnings)

    async def _create_tables(self, *, into_target: bool) -> None:
        cells = ", ".join(f"c{at} text" for at in range(len(self._plan.names)))
        columns = "row json" if self._reader.json else cells
        await self._driver.execute(create_staging_table(self._plan))
        for statement in (
            f"ALTER TABLE {STAGING_TABLE} ADD COLUMN {quote(NUMBER_COLUMN)} bigint",
            f"CREATE TEMP TABLE {TEXTS_TABLE} (number bigint, {columns}) ON COMMIT DROP",
            _CREATE_ERRORS_TABLE,
            create_chunk_function(
                self._plan, self._values(), json=self._reader.json, into_target=into_target
            ),
        ):
            await self._driver.execute(statement)

    async def _drop_tables(self) -> None:
        # Don't wait for ON COMMIT DROP: a dry run of several batches is one transaction, and the
        # next batch creates the tables again.
        await self._driver.execute(f"DROP TABLE {STAGING_TABLE}, {TEXTS_TABLE}, {ERRORS_TABLE}")

    async def _load_all(self, advance: Advance) -> None:
        async for chunk in iterate_in_thread(self._reader.chunks()):
            await self._load_chunk(chunk, self._total)
            self._total += len(chunk.raw_rows)
            advance(chunk)

    def _values(self) -> dict[str, str]:
        """Return the SQL of each column's value in a row `r` of the table of texts."""
        # Texts are cast to the type without its length: `::varchar(3)` would truncate a longer text
        # silently, but the assignment to the column refuses it.
        if self._reader.json:
            return {column.name: f"j.{quote(column.name)}" for column in self._plan.written}
        return {
            column.name: f"r.c{at}::{column.base_type}"
            for at, column in enumerate(self._plan.columns)
            if column is not None
        }

    async def _load_chunk(self, chunk: Chunk, first: int) -> None:
        """Stage a chunk (steps 1 and 2); `first` is the number of its first row in the file."""
        data, bad = await in_daemon_thread(lambda: self._reader.stage(chunk, first))
        if bad:
            rows: list[tuple[int, str, list[str], str]] = [
                (first + at, problem.state, [problem.column], problem.what) for at, problem in bad
            ]
            insert = f"INSERT INTO {ERRORS_TABLE} VALUES ($1, $2, $3, $4)"  # noqa: S608
            await self._driver.executemany(insert, rows)
        if not data:
            return
        # COPY's text format would interpret the backslashes of JSON. Its csv format reads a row
        # unchanged, with a quote and a delimiter that JSON can't contain unescaped.
        signs: dict[str, Any] = {"delimiter": ","}
        if self._reader.json:
            signs = {"delimiter": SEPARATOR.decode(), "quote": "\x01"}
        await self._driver.copy_to_table(
            TEXTS_TABLE, source=copy_source(data), format="csv", **signs
        )
        await self._driver.execute(f"SELECT {CHUNK_FUNCTION}()")
        await self._driver.execute(f"TRUNCATE {TEXTS_TABLE}")

    async def _insert(self) -> int:
        """Insert the staged rows, except those that the target refuses; return their number.

        Raises:
            DataError: The target refuses a row, and `--rejects` was not given.
        """
        before = await self._work.counts() if self._work else {}
        await self._driver.execute(f"SAVEPOINT {SAVEPOINT}")
        changed: int | None = None
        try:
            changed = await self._insert_all()
        except Exception as exc:
            if not sqlstate_of(exc).startswith(_REFUSALS):
                raise
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            await self._move_refused(exc)
            if self._work:
                tried = subtract_counts(await self._work.counts(), before)
                self._work.exclude_rolled_back(tried)
        await self._reject_bad_rows()
        self._rejects.raise_first()
        if changed is None:
            try:
                changed = await self._insert_all()
            except Exception as exc:
                raise self._refusal(exc) from exc
        return changed

    async def _move_refused(self, exc: Exception) -> None:
        """Move the refused rows to the table of errors, after an INSERT of all rows has failed."""
        state = sqlstate_of(exc)
        if state == sqlstates.INSUFFICIENT_PRIVILEGE and not await self._driver.fetchval(
            ROW_SECURITY, self._plan.table.quoted
        ):
            raise exc  # the role must not write the table, whatever is in the rows
        if state == TRIGGER:
            raise self._refusal(exc) from exc
        try:
            await RefusedRows(self._driver, self._plan).move()
        except Exception as later:
            raise self._refusal(later) from later

    def _refusal(self, exc: Exception) -> Exception:
        """Return the error for a row of unknown line, or the exception if no row caused it."""
        state = sqlstate_of(exc)
        if state == TRIGGER:
            problem = refused_by_trigger(exc, self._plan.written)
        elif state.startswith(_REFUSALS):
            constraint = getattr(exc, "constraint_name", None) or ""
            problem = problem_of(state, [], [], constraint=constraint)
        else:
            return exc
        return bad_rows(self._reader.source.name, [problem])

    async def _insert_all(self) -> int:
        staged = f"SELECT {self._plan.quoted_columns} FROM {STAGING_TABLE}"  # noqa: S608 - quoted
        status: str = await self._driver.execute(insert_statement(self._plan, staged))
        await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return int(status.rpartition(" ")[2])

    async def _reject_bad_rows(self) -> None:
        """Read the file again, and add the bad rows to the rejects in the order of the file."""
        if not await self._driver.fetchval(f"SELECT EXISTS (SELECT FROM {ERRORS_TABLE})"):  # noqa: S608
            return
        chunks, first = self._reader.chunks(), 0
        chunk: Chunk | None = None
        async for error in self._errors():
            while chunk is None or error["number"] >= first + len(chunk.raw_rows):
                first += len(chunk.raw_rows) if chunk else 0
                chunk = await in_daemon_thread(lambda: next(chunks, None))
                if chunk is None:
                    return
            at = error["number"] - first
            await self._rejects.add(chunk.raw_rows[at], self._problem(chunk, at, error))

    async def _errors(self) -> AsyncIterator[Any]:
        """Yield the first error of each row, in the order of the file."""
        rows = self._driver.cursor(
            f"SELECT DISTINCT ON (number) * FROM {ERRORS_TABLE} ORDER BY number",  # noqa: S608
            prefetch=_ERRORS_A_READ,
        )
        async for row in rows:
            yield row

    def _problem(self, chunk: Chunk, at: int, error: Any) -> Problem:
        line = chunk.raw_row(at).line
        if len(error["state"]) != _SQLSTATE_LENGTH:
            return Problem(line, error["constraint_name"], state=error["state"])
        state, names = self._state_and_names(chunk.raw_rows[at], error)
        positions = self._plan.positions(names)
        if len(positions) < len(names):  # a part of an expression, or a column's default
            positions = []
        one_row = chunk._replace(line=line, raw_rows=[chunk.raw_rows[at]], lines=[line])
        parsed = self._reader.parse(one_row, self._plan)
        cells = parsed.row(0) if parsed.indexes else []
        values = [cells[position] for position in positions] if cells else []
        constraint = error["constraint_name"] or ""
        columns = self._plan.written_at(positions)
        return problem_of(state, columns, values, line=line, constraint=constraint)

    def _state_and_names(self, raw: bytes, error: Any) -> tuple[str, list[str]]:
        """Return the SQLSTATE of a bad row, and the columns that it is about."""
        state = error["state"]
        if self._reader.json and state in _TEXT_ERRORS:
            from oneoff.services.data.imports.readers.json_values import unstorable_member

            # To read one member, the server parses all of them. So it fails at the first member
            # that it probes, which may not be the bad one.
            name = unstorable_member(raw, self._plan.names)
            if name is not None:
                return _UNTRANSLATABLE, [name]
        return state, error["columns"]


async def import_staged(
    connection: AsyncConnection, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> ImportSummary:
    """Import an entire file in the connection's transaction."""
    driver = await driver_with_settings(connection)
    return await StagedImport(driver, plan, reader, rejects).run(advance)
