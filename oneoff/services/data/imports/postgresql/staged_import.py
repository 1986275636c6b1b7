"""Rows into PostgreSQL by way of staging tables, where the bad ones are found and left out.

For what COPY can't read into the table itself (JSON, Parquet), and for `--rejects`. A chunk of rows
is put as text into one temporary table and from there, by one statement, into a second one with the
target's types, constraints and unique indexes. Only a chunk in which that fails is gone through row
by row, by the server itself. What needs other rows of the database is then asked by whole sets. So
bad rows cost what they are, and the target is written once, by one INSERT.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from oneoff.database.errors import sqlstate_of
from oneoff.services.data.imports.errors import (
    OF_ROWS,
    TRIGGER,
    Problem,
    bad_rows,
    problem_of,
    refused_by_trigger,
)
from oneoff.services.data.imports.plan import STAGING
from oneoff.services.data.imports.postgresql.check_function import (
    ERRORS,
    NUMBER,
    RAW,
    make_function,
)
from oneoff.services.data.imports.postgresql.constraint_checks import Checks
from oneoff.services.data.imports.postgresql.copy_csv import driver_of, drop_not_null, staging
from oneoff.services.data.imports.postgresql.sequences import move_sequences
from oneoff.services.data.imports.readers.base import SEPARATOR
from oneoff.services.data.imports.request import Imported
from oneoff.services.data.tables import quote
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.base import Advance, Reader
    from oneoff.services.data.imports.readers.csv_reader import Chunk
    from oneoff.services.data.imports.rejects import Rejects

_ERRORS_READ = 1_000
_ERRORS_TABLE = (
    f"CREATE TEMP TABLE {ERRORS} (number bigint, state text, columns text[], constraint_name text) "
    "ON COMMIT DROP"
)


class StagedImport:
    """One import, in the transaction of a connection."""

    def __init__(self, driver: Any, plan: Plan, reader: Reader, rejects: Rejects) -> None:
        self._driver, self._plan, self._reader, self._rejects = driver, plan, reader, rejects
        self._checks = Checks(driver, plan)
        self._total = 0

    async def run(self, advance: Advance) -> Imported:
        """Import all rows of the reader.

        Args:
            advance: Is told of each chunk that is done.

        Raises:
            DataError: A row can't be, and bad rows are not left out.
        """
        await self._prepare(direct=False)
        await self._stage_all(advance)
        await self._checks.run()
        await self._take_bad()
        self._rejects.raise_first()
        changed = await self._insert()
        await self._clean_up()
        warnings = await move_sequences(self._driver, self._plan)
        return Imported(self._total, changed, warnings=warnings)

    async def _prepare(self, *, direct: bool) -> None:
        columns = "row json" if self._reader.json else ", ".join(self._raw_columns())
        await self._driver.execute(staging(self._plan, extra=" INCLUDING INDEXES"))
        await self._checks.prepare()
        await drop_not_null(self._driver, self._plan)
        for statement in (
            f"ALTER TABLE {STAGING} ADD COLUMN {quote(NUMBER)} bigint",
            f"CREATE TEMP TABLE {RAW} (number bigint, {columns}) ON COMMIT DROP",
            _ERRORS_TABLE,
            make_function(self._plan, self._values(), json=self._reader.json, direct=direct),
        ):
            await self._driver.execute(statement)

    async def _clean_up(self) -> None:
        """Drop the tables: a dry run of several batches is one transaction."""
        await self._driver.execute(f"DROP TABLE {STAGING}, {RAW}, {ERRORS}")

    async def _stage_all(self, advance: Advance) -> None:
        chunks = self._reader.chunks()
        while (chunk := await in_daemon_thread(lambda: next(chunks, None))) is not None:
            await self._stage(chunk, self._total)
            self._total += len(chunk.raws)
            advance(chunk)

    def _raw_columns(self) -> list[str]:
        return [f"c{at} text" for at in range(len(self._plan.names))]

    def _values(self) -> dict[str, str]:
        """Return the SQL of each column's value in a row `r` of the first table."""
        if self._reader.json:
            return {column.name: f"j.{quote(column.name)}" for column in self._plan.written}
        return {
            column.name: f"r.c{at}::{column.plain}"
            for at, column in enumerate(self._plan.columns)
            if column is not None
        }

    async def _stage(self, chunk: Chunk, first: int) -> None:
        """Take a chunk whose first row has this number in the file."""
        data, bad = await in_daemon_thread(lambda: self._reader.stage(chunk, first))
        if bad:
            rows: list[tuple[int, str, list[str], str]] = [
                (first + at, problem.state, [], problem.what) for at, problem in bad
            ]
            await self._driver.executemany(f"INSERT INTO {ERRORS} VALUES ($1, $2, $3, $4)", rows)  # noqa: S608
        if not data:
            return
        separate: dict[str, Any] = {"delimiter": ","}
        if self._reader.json:
            separate = {"delimiter": SEPARATOR.decode(), "quote": "\x01"}
        await self._driver.copy_to_table(RAW, source=once(data), format="csv", **separate)
        await self._driver.execute(f"SELECT pg_temp.{STAGING}_check()")
        await self._driver.execute(f"TRUNCATE {RAW}")

    async def _insert(self) -> int:
        statement = self._plan.insert(f"SELECT {self._plan.quoted} FROM {STAGING}")  # noqa: S608 - quoted
        try:
            status: str = await self._driver.execute(statement)
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except Exception as exc:
            state = sqlstate_of(exc)
            if not state.startswith(OF_ROWS):
                raise
            # Triggers, and constraints that only the whole table can check.
            constraint = getattr(exc, "constraint_name", None) or ""
            problem = problem_of(state, [], [], constraint=constraint)
            if state == TRIGGER:
                problem = refused_by_trigger(exc, self._plan.written)
            raise bad_rows(self._reader.source.name, [problem]) from exc
        return int(status.rpartition(" ")[2])

    async def _take_bad(self) -> None:
        """Go through the file once more, and hand on the rows that are bad."""
        if not await self._driver.fetchval(f"SELECT EXISTS (SELECT FROM {ERRORS})"):  # noqa: S608
            return
        errors = self._errors()
        chunks, first = self._reader.chunks(), 0
        error = await anext(errors, None)
        while error is not None:
            chunk = await in_daemon_thread(lambda: next(chunks, None))
            if chunk is None:
                return
            while error is not None and (at := error["number"] - first) < len(chunk.raws):
                await self._rejects.add(chunk.raws[at], self._problem(chunk, at, error))
                error = await anext(errors, None)
            first += len(chunk.raws)

    async def _errors(self) -> AsyncIterator[Any]:
        """Give the first error of each row, in the order of the file."""
        rows = self._driver.cursor(
            f"SELECT DISTINCT ON (number) * FROM {ERRORS} ORDER BY number",  # noqa: S608
            prefetch=_ERRORS_READ,
        )
        async for row in rows:
            yield row

    def _problem(self, chunk: Chunk, at: int, error: Any) -> Problem:
        line = chunk.record(at).line
        if len(error["state"]) != _SQLSTATE:
            return Problem(line, error["constraint_name"], state=error["state"])
        state, names = self._blamed(chunk.raws[at], error)
        columns: list[Column] = [c for name in names for c in self._plan.written if c.name == name]
        one = chunk._replace(line=line, raws=[chunk.raws[at]], lines=[line])
        parsed = self._reader.parse(one, self._plan)
        cells = parsed.row(0) if parsed.at else []
        values = [cells[self._plan.names.index(name)] for name in names] if cells else []
        name = error["constraint_name"] or ""
        named = "" if name.startswith(STAGING) else name  # the copy of an index has its own name
        return problem_of(state, columns, values, line=line, constraint=named)

    def _blamed(self, raw: bytes, error: Any) -> tuple[str, list[str]]:
        """Return what is wrong with a row, and the columns that it is wrong with."""
        state = error["state"]
        if self._reader.json and state in _TEXTS:
            from oneoff.services.data.imports.readers.json_reader import unstorable_member

            # The server reads all members for one, and so fails with the first it is asked for.
            name = unstorable_member(raw, self._plan.names)
            if name is not None:
                return _UNTRANSLATABLE, [name]
        return state, [name for name in error["columns"] if name in self._plan.names]


_SQLSTATE = 5
_UNTRANSLATABLE = "22P05"
_TEXTS = ("22P02", _UNTRANSLATABLE)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Give bytes as COPY takes them."""
    yield data


async def import_staged(
    connection: AsyncConnection, plan: Plan, reader: Reader, rejects: Rejects, advance: Advance
) -> Imported:
    """Import a whole file in the connection's transaction."""
    driver = await driver_of(connection)
    return await StagedImport(driver, plan, reader, rejects).run(advance)
