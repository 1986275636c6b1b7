"""Import csv into PostgreSQL by COPY: the server parses the rows, Python only passes the bytes.

COPY writes directly into the target if an existing row is an error and each column of the file is
imported. Otherwise it writes into a staging table. Each row is then written twice, which takes 1.6
times as long (measured). If the server refuses a row, the row is looked up in the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.database.errors import CONFLICTS, UNAVAILABLE, sqlstate_of
from oneoff.services.data.driver import driver_with_settings
from oneoff.services.data.imports.errors import (
    ROW_ERRORS,
    TRIGGER,
    Problem,
    bad_rows,
    problem_of,
    refused_by_trigger,
)
from oneoff.services.data.imports.insert_statement import insert_statement
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.postgresql.staging_table import (
    ROW_SECURITY,
    SAVEPOINT,
    STAGING_TABLE,
    create_staging_table,
)
from oneoff.services.data.imports.readers.csv_reader import CsvReader, shape_problem
from oneoff.services.data.imports.readers.csv_records import (
    LineIndex,
    cells_of,
    find_row,
    find_row_with,
)
from oneoff.services.data.imports.source import iterate_in_thread
from oneoff.services.data.imports.summary import ImportSummary
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.errors import CommandError
    from oneoff.runtime.progress import Progress
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import RawRow

_SAME_KEY = sqlstates.CARDINALITY_VIOLATION
"""The SQLSTATE of ON CONFLICT DO UPDATE that finds a row which the same statement has written."""
_KEY = re.compile(r"\((.*?)\)=\((.*)\)", re.DOTALL)
"""Columns and values in the DETAIL of a constraint's error. This part is not translated."""
_LINE = r"^COPY {table}, \D*(\d+)"
"""The line in an error's context. The server translates the text around it."""


class StagedRowRefused(Exception):
    """The target refuses a row of the staging table; `StagedImport` finds out which one."""


class CsvImport:
    """Imports rows of a csv file in the transaction of a connection.

    Args:
        driver: asyncpg's connection.
        plan: What is imported.
        reader: The reader of the file.
        first_line: The line of the first imported row.
        line_end: The line end in the imported bytes.
        index: Finds rows faster. The caller fills it while it yields bytes.
    """

    def __init__(
        self,
        driver: Any,
        plan: Plan,
        reader: CsvReader,
        *,
        first_line: int,
        line_end: bytes = b"\n",
        index: LineIndex | None = None,
    ) -> None:
        self._driver, self._plan = driver, plan
        self._source, self._header = reader.source, reader.header
        self._first_line, self._line_end, self._index = first_line, line_end, index
        self._schema: str | None = None
        self._table = STAGING_TABLE

    async def run(self, blocks: AsyncIterable[bytes]) -> ImportSummary:
        """Import the rows that these bytes contain.

        Raises:
            DataError: A row can't be imported; the error names the row and the reason.
            StagedRowRefused: A row can't be imported. Nothing was written.
        """
        try:
            return await self._run(blocks)
        except StagedRowRefused:
            raise
        except Exception as exc:
            if self._is_row_error(exc):
                raise await self._data_error(exc) from exc
            raise

    def _is_row_error(self, exc: Exception) -> bool:
        """Return whether one row of the file caused an error."""
        state = sqlstate_of(exc)
        if state.startswith(ROW_ERRORS):
            return True
        # The input function of a type may raise any SQLSTATE: hstore raises XX000 in PostgreSQL 15.
        # If COPY was reading a value then, the value is the cause, unless the server has a problem.
        _, rest = self._copy_location(exc)
        of_the_server = state in CONFLICTS or state.startswith(UNAVAILABLE)
        return bool(self._column_in(rest)) and not of_the_server

    async def _run(self, blocks: AsyncIterable[bytes]) -> ImportSummary:
        if await self._can_copy_into_target():
            self._schema, self._table = self._plan.table.schema_and_name
            total = changed = await self._copy(blocks, [c.name for c in self._plan.written])
        else:
            names = await self._create_staging_table()
            total = await self._copy(blocks, names)
            changed = await self._insert()
            # Don't wait for ON COMMIT DROP: a dry run of several batches is one transaction, and
            # the next batch creates the table again.
            await self._driver.execute(f"DROP TABLE {STAGING_TABLE}")
        # Deferred constraints would otherwise fail at the commit, when the error can no longer be
        # reported with its row.
        await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        warnings = await move_sequences(self._driver, self._plan)
        return ImportSummary(total, changed, warnings=warnings)

    async def _can_copy_into_target(self) -> bool:
        if self._plan.on_conflict != "error" or None in self._plan.columns:
            return False
        return not await self._driver.fetchval(ROW_SECURITY, self._plan.table.quoted)

    async def _copy(self, blocks: AsyncIterable[bytes], names: Sequence[str]) -> int:
        status: str = await self._driver.copy_to_table(
            self._table,
            schema_name=self._schema,
            columns=names,
            source=_below_empty_header(self._line_end, blocks),
            format="csv",
            header=True,
        )
        return int(status.rpartition(" ")[2])

    async def _create_staging_table(self) -> list[str]:
        """Create the staging table; return its column for each column of the file.

        COPY can't skip a column of the file, so a column that is not imported is stored as text.
        """
        await self._driver.execute(create_staging_table(self._plan))
        names = [
            f"oneoff left out {at}" if column is None else column.name
            for at, column in enumerate(self._plan.columns)
        ]
        adds = [
            f"ADD COLUMN {quote(name)} text"
            for name, column in zip(names, self._plan.columns, strict=True)
            if column is None
        ]
        if adds:
            await self._driver.execute(f"ALTER TABLE {STAGING_TABLE} {', '.join(adds)}")
        return names

    async def _insert(self) -> int:
        staged = f"SELECT {self._plan.quoted_columns} FROM {STAGING_TABLE}"  # noqa: S608 - quoted
        # After an error PostgreSQL accepts no statement until a rollback.
        await self._driver.execute(f"SAVEPOINT {SAVEPOINT}")
        try:
            status: str = await self._driver.execute(insert_statement(self._plan, staged))
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except Exception as exc:
            state = sqlstate_of(exc)
            if state == TRIGGER or not state.startswith((*ROW_ERRORS, _SAME_KEY)):
                raise
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            await self._driver.execute(f"DROP TABLE {STAGING_TABLE}")
            raise StagedRowRefused from exc
        return int(status.rpartition(" ")[2])

    async def _data_error(self, exc: Exception) -> CommandError:
        """Return the error for a row that the server refused, with its line if it is known."""
        return bad_rows(self._source.name, [await self._problem_of(exc)])

    async def _problem_of(self, exc: Exception) -> Problem:
        if sqlstate_of(exc) == TRIGGER:
            return refused_by_trigger(exc, self._plan.written)
        state, constraint = sqlstate_of(exc), getattr(exc, "constraint_name", None) or ""
        line, rest = self._copy_location(exc)
        row = await in_daemon_thread(lambda: self._find(line)) if line else None
        if row is not None and state == sqlstates.BAD_COPY_FILE_FORMAT:
            # Only the first line: the others are hints for users of COPY.
            found, width = len(cells_of(row.raw)), len(self._plan.names)
            what = first_line(exc)
            return shape_problem(row, found, width) or Problem(row.line, what, state=state)
        names, values = self._columns(exc, rest)
        if row is None:
            return await self._problem_by_values(state, names, values, constraint)
        return self._problem_in(row, state, names, constraint)

    def _copy_location(self, exc: Exception) -> tuple[int, str]:
        """Return the line of the file that COPY's context names, and the text after it."""
        # The server translates "COPY users, line 3, column age: ...", except for "COPY users, ".
        # The first number is the line in every language. COPY counts its header as line 1. The
        # context of a JSON type or a trigger comes first, on lines of its own.
        context = getattr(exc, "context", None) or ""
        pattern = _LINE.format(table=re.escape(self._table))
        found = re.search(pattern, context, re.MULTILINE)
        if found is None:
            return 0, ""
        return int(found[1]) + self._first_line - 2, context[found.end() :]

    def _find(self, line: int) -> RawRow | None:
        start = self._index.find(line) if self._index else self._header.first_row
        return find_row(self._source, start, line)

    def _columns(self, exc: Exception, rest: str) -> tuple[list[str], list[str]]:
        """Return the columns that an error is about, and their values if the error has them."""
        named = getattr(exc, "column_name", None)
        if named:
            return [named], []
        found = _KEY.search(getattr(exc, "detail", None) or "")
        if found:
            names = [name.strip('"') for name in found[1].split(", ")]
            values = found[2].split(", ") if len(names) > 1 else [found[2]]
            if set(names) <= set(self._plan.names) and len(names) == len(values):
                return names, values
        return self._column_in(rest), []

    def _column_in(self, rest: str) -> list[str]:
        """Return the column that COPY's context names, if it names one."""
        return [name for name in self._plan.names if f" {name}:" in rest.partition('"')[0]][:1]

    def _problem_in(self, row: RawRow, state: str, names: list[str], constraint: str) -> Problem:
        cells = cells_of(row.raw)
        positions = self._plan.positions(names)
        values = [cells[at] for at in positions if at < len(cells)]
        columns = self._plan.written_at(positions)
        return problem_of(state, columns, values, line=row.line, constraint=constraint)

    async def _problem_by_values(
        self, state: str, names: list[str], values: list[str], constraint: str = ""
    ) -> Problem:
        """Return the problem of a row of which only some values are known."""
        positions = self._plan.positions(names)
        row = None
        if values and len(positions) == len(values):
            start = self._header.first_row
            row = await in_daemon_thread(
                lambda: find_row_with(self._source, start, positions, values)
            )
        if row is not None:
            return self._problem_in(row, state, names, constraint)
        return problem_of(state, self._plan.written_at(positions), values, constraint=constraint)


async def import_by_copy(
    connection: AsyncConnection, plan: Plan, reader: CsvReader, progress: Progress
) -> ImportSummary:
    """Import an entire csv file in the connection's transaction.

    `data import --resume` does not call this function: `resume` uses `CsvImport` for each chunk.
    """
    driver, header = await driver_with_settings(connection), reader.header
    index = LineIndex(header.first_row)
    first_line = header.first_row.line
    if header.mixed_line_ends:
        # COPY accepts only one kind of line end, so rows are split here and sent with line feeds.
        # `CsvImport` gets no index: it would count the sent bytes, which differ from the file's.
        importing = CsvImport(driver, plan, reader, first_line=first_line)
        blocks: AsyncIterable[bytes] = (
            chunk.as_lines() async for chunk in iterate_in_thread(reader.chunks())
        )
    else:
        importing = CsvImport(
            driver, plan, reader, first_line=first_line, line_end=header.line_end, index=index
        )
        blocks = iterate_in_thread(reader.source.read_blocks(header.first_row.offset))
    return await importing.run(_with_progress(blocks, index, progress))


async def _below_empty_header(
    line_end: bytes, blocks: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    """Yield an empty line, which COPY skips as the header, and then the blocks."""
    # The server detects the kind of line end in the first line, and only then counts line ends
    # inside quotes. Without the empty line, a line end inside the first row would not be counted,
    # and all line numbers in errors would be wrong.
    yield line_end
    async for block in blocks:
        yield block


async def _with_progress(
    blocks: AsyncIterable[bytes], index: LineIndex, progress: Progress
) -> AsyncIterator[bytes]:
    async for block in blocks:
        lines = index.add(block)
        yield block
        progress.advance(len(block), rows=lines)
