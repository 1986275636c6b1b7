"""A csv file into PostgreSQL: the server reads its bytes by COPY, and Python none of its rows.

Where nothing can be there already, and every column has its place, COPY writes into the table
itself: by way of a staging table each row would be written twice (measured: 1.6 times as long). A
row the server refuses is then looked up in the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from oneoff.database.errors import sqlstate_of
from oneoff.services.data.columns import settings_statement
from oneoff.services.data.imports.errors import (
    OF_ROWS,
    TRIGGER,
    Problem,
    bad_rows,
    problem_of,
    refused_by_trigger,
)
from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.readers.csv_reader import (
    cells_of,
    chunks,
    count_problem,
    find_record,
    find_values,
    lines_of,
)
from oneoff.services.data.imports.readers.line_index import Trail
from oneoff.services.data.imports.request import Imported
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.errors import CommandError
    from oneoff.runtime.progress import Progress
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.csv_reader import Header, Record
    from oneoff.services.data.imports.source import Source

_TWICE = "21000"
"""ON CONFLICT DO UPDATE met a row that the same statement has written."""
_BAD_COPY = "22P04"
_SECURED = "SELECT row_security_active($1::text::regclass)"
"""Whether policies decide which rows the role may write: COPY refuses such a table."""
_KEY = re.compile(r"\((.*?)\)=\((.*)\)", re.DOTALL)
_LINE = re.compile(r"\D*(\d+)")


async def driver_of(connection: AsyncConnection) -> Any:
    """Return asyncpg's own connection, with the settings by which files are read."""
    # SQLAlchemy sends BEGIN with its first statement: without one COPY would commit by itself.
    await connection.exec_driver_sql("SELECT 1")
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.execute(settings_statement())
    return driver


class CsvImport:
    """One import of a csv file, in the transaction of a connection.

    Attributes:
        first: Line of the first row that it is given.
        end: How lines end in what it is given.
        trail: Where rows begin in the bytes that it was given, if somebody marks it.
    """

    def __init__(self, driver: Any, plan: Plan, source: Source, header: Header) -> None:
        self._driver, self._plan = driver, plan
        self._source, self._header = source, header
        self.first = header.lines + 1
        self.end = b"\n"
        self.trail: Trail | None = None
        self._direct = plan.on_conflict == "error" and None not in plan.columns
        self._schema, self._table = plan.table.place if self._direct else (None, STAGING)

    async def run(self, blocks: AsyncIterable[bytes]) -> Imported:
        """Import the rows that these bytes hold.

        Raises:
            DataError: A row can't be; which, and why.
        """
        try:
            return await self._run(blocks)
        except Exception as exc:
            if sqlstate_of(exc).startswith(OF_ROWS):
                raise await self._explained(exc) from exc
            raise

    async def _run(self, blocks: AsyncIterable[bytes]) -> Imported:
        if self._direct and await self._driver.fetchval(_SECURED, self._plan.table.quoted):
            self._direct, self._schema, self._table = False, None, STAGING
        if self._direct:
            total = changed = await self._copy(blocks, [c.name for c in self._plan.written])
        else:
            names = await self._stage()
            total = await self._copy(blocks, names)
            changed = await self._insert()
            # A dry run of several batches is one transaction.
            await self._driver.execute(f"DROP TABLE {STAGING}")
        # What is deferred to the commit would come up there without a line.
        await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        warnings = await move_sequences(self._driver, self._plan)
        return Imported(total, changed, warnings=warnings)

    async def _copy(self, blocks: AsyncIterable[bytes], names: Sequence[str]) -> int:
        status: str = await self._driver.copy_to_table(
            self._table,
            schema_name=self._schema,
            columns=names,
            source=_below_a_line(self.end, blocks),
            format="csv",
            header=True,
        )
        return int(status.rpartition(" ")[2])

    async def _stage(self) -> list[str]:
        """Make the staging table, and return its column for each of the file's."""
        await self._driver.execute(staging(self._plan))
        await drop_not_null(self._driver, self._plan)
        left_out = [at for at, column in enumerate(self._plan.columns) if column is None]
        if left_out:
            adds = ", ".join(f"ADD COLUMN {quote(_left_out(at))} text" for at in left_out)
            await self._driver.execute(f"ALTER TABLE {STAGING} {adds}")
        return [
            _left_out(at) if column is None else column.name
            for at, column in enumerate(self._plan.columns)
        ]

    async def _insert(self) -> int:
        statement = self._plan.insert(f"SELECT {self._plan.quoted} FROM {STAGING}")  # noqa: S608 - quoted
        await self._driver.execute(f"SAVEPOINT {STAGING}")
        try:
            status: str = await self._driver.execute(statement)
        except Exception as exc:
            if sqlstate_of(exc) != _TWICE:
                raise
            await self._driver.execute(f"ROLLBACK TO SAVEPOINT {STAGING}")
            raise await self._twice() from exc
        return int(status.rpartition(" ")[2])

    async def _twice(self) -> CommandError:
        """Return the error for rows with one key."""
        key = ", ".join(map(quote, self._plan.key))
        texts = ", ".join(f"{quote(name)}::text" for name in self._plan.key)
        rows = await self._driver.fetch(
            f"SELECT {texts} FROM {STAGING} GROUP BY {key} HAVING count(*) > 1 LIMIT 10"  # noqa: S608
        )
        problems = [await self._about("twice", list(self._plan.key), list(row)) for row in rows]
        return bad_rows(self._source.name, problems)

    async def _explained(self, exc: Exception) -> CommandError:
        if sqlstate_of(exc) == TRIGGER:
            return bad_rows(self._source.name, [refused_by_trigger(exc, self._plan.written)])
        state, constraint = sqlstate_of(exc), getattr(exc, "constraint_name", None) or ""
        line, rest = self._place(getattr(exc, "context", None) or "")
        record = await in_daemon_thread(lambda: self._find(line)) if line else None
        if record is not None and state == _BAD_COPY:
            found = len(cells_of(record.raw))
            if found != len(self._plan.names):
                problem = count_problem(record, found, len(self._plan.names))
            else:
                # Behind its first line the server gives hints, which are for COPY.
                problem = Problem(record.line, str(exc).partition("\n")[0], state=state)
            return bad_rows(self._source.name, [problem])
        names, values = self._columns(exc, rest)
        if record is None:
            return bad_rows(
                self._source.name, [await self._about(state, names, values, constraint)]
            )
        return bad_rows(self._source.name, [self._problem(state, names, record, constraint)])

    def _place(self, context: str) -> tuple[int, str]:
        """Return the line that COPY names, and what it says besides, in whatever language."""
        start = f"COPY {self._table}, "
        found = _LINE.match(context, len(start)) if context.startswith(start) else None
        if found is None:
            return 0, ""
        return int(found[1]) + self.first - 2, context[found.end() :]

    def _find(self, line: int) -> Record | None:
        begin = self.trail.before(line) if self.trail else None
        return find_record(self._source, self._header, line, begin)

    def _columns(self, exc: Exception, rest: str) -> tuple[list[str], list[str]]:
        """Return the columns that an error is about, and their values if it says so."""
        named = getattr(exc, "column_name", None)
        if named:
            return [named], []
        found = _KEY.search(getattr(exc, "detail", None) or "")
        if found:
            names = [name.strip('"') for name in found[1].split(", ")]
            values = found[2].split(", ") if len(names) > 1 else [found[2]]
            if set(names) <= set(self._plan.names) and len(names) == len(values):
                return names, values
        return [name for name in self._plan.names if f" {name}:" in rest.partition('"')[0]][:1], []

    def _problem(self, state: str, names: list[str], record: Record, constraint: str) -> Problem:
        cells = cells_of(record.raw)
        at = [self._plan.names.index(name) for name in names if name in self._plan.names]
        values = [cells[i] for i in at if i < len(cells)]
        columns = [column for i in at if (column := self._plan.columns[i]) is not None]
        return problem_of(state, columns, values, line=record.line, constraint=constraint)

    async def _about(
        self, state: str, names: list[str], values: list[str], constraint: str = ""
    ) -> Problem:
        """Return what is wrong with a row of which only some values are known."""
        at = [self._plan.names.index(name) for name in names if name in self._plan.names]
        record = None
        if values and len(at) == len(values):
            record = await in_daemon_thread(
                lambda: find_values(self._source, self._header, at, values)
            )
        if record is not None:
            return self._problem(state, names, record, constraint)
        columns = [column for i in at if (column := self._plan.columns[i]) is not None]
        return problem_of(state, columns, values, constraint=constraint)


async def import_csv(
    connection: AsyncConnection, plan: Plan, source: Source, header: Header, progress: Progress
) -> Imported:
    """Import a whole csv file in the connection's transaction."""
    importing = CsvImport(await driver_of(connection), plan, source, header)
    trail = Trail(header.begin)
    if header.mixed:  # COPY takes one kind of line's end
        return await importing.run(_shown(_rows_of(source, header), trail, progress))
    importing.trail, importing.end = trail, header.end
    return await importing.run(_shown(source.blocks(header.size), trail, progress))


async def _below_a_line(end: bytes, blocks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Give bytes below an empty line in place of names, which COPY leaves out.

    From the first line the server learns how lines end. Until then it does not count those within
    quotes, so the first row must not be that line.
    """
    yield end
    async for block in blocks:
        yield block


async def _rows_of(source: Source, header: Header) -> AsyncIterator[bytes]:
    """Give the rows with line feeds behind them."""
    parts = chunks(source, header)
    while (chunk := await in_daemon_thread(lambda: next(parts, None))) is not None:
        yield lines_of(chunk)


async def _shown(
    blocks: AsyncIterator[bytes], trail: Trail, progress: Progress
) -> AsyncIterator[bytes]:
    async for block in blocks:
        lines = trail.passed(block)
        yield block
        progress.advance(len(block), rows=lines)


def staging(plan: Plan, extra: str = "") -> str:
    """Return the statement that makes a staging table of the target's shape.

    NOT NULL and CHECK are in it, so that COPY meets them with the line at hand.
    """
    return (
        f"CREATE TEMP TABLE {STAGING} (LIKE {plan.table.quoted} INCLUDING CONSTRAINTS{extra}) "
        "ON COMMIT DROP"
    )


async def drop_not_null(driver: Any, plan: Plan) -> None:
    """Let what the file doesn't give be empty in the staging table.

    A primary key with such a column must have been dropped.
    """
    written = {column.name for column in plan.written}
    free = [
        f"ALTER COLUMN {quote(column.name)} DROP NOT NULL"
        for column in plan.table.columns
        if column.name not in written and not column.nullable
    ]
    if free:
        await driver.execute(f"ALTER TABLE {STAGING} {', '.join(free)}")


def _left_out(at: int) -> str:
    return f"oneoff left out {at}"
