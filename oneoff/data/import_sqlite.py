"""Rows into SQLite: Python reads and checks the values, in one transaction.

A thread reads the next chunk while the driver's own writes the last one: both let go of the
interpreter for a good part of their time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.data.import_errors import Problem, bad_rows, problem_of
from oneoff.data.import_outcome import Imported
from oneoff.data.import_plan import STAGING
from oneoff.data.import_values import BadValue, convert
from oneoff.data.tables import quote
from oneoff.threads import in_daemon_thread
from oneoff.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.data.import_csv import Cells, Chunk
    from oneoff.data.import_plan import Plan
    from oneoff.data.import_reader import Reader
    from oneoff.data.import_rejects import Rejects
    from oneoff.resources.progress import Progress

_STATES = {
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
    "SQLITE_CONSTRAINT_ROWID": "23505",
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_CHECK": "23514",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
}
Bad = tuple[int, Problem]


class _Ready(NamedTuple):
    """A chunk whose values have been read."""

    chunk: Chunk
    at: Sequence[int]
    cells: Sequence[Cells]
    rows: Sequence[Sequence[Any]]
    bad: Sequence[Bad]


class SqliteImport:
    """One import, in the transaction of the session."""

    def __init__(self, driver: Any, plan: Plan, reader: Reader, rejects: Rejects) -> None:
        self._driver, self._plan, self._reader, self._rejects = driver, plan, reader, rejects
        marks = ", ".join("?" * len(plan.written))
        self._insert = plan.insert(f"VALUES ({marks})")
        key = ", ".join(map(quote, plan.key))
        self._seen = f"INSERT INTO temp.{STAGING} VALUES ({', '.join('?' * len(plan.key))})"  # noqa: S608
        self._make_seen = f"CREATE TEMP TABLE {STAGING} ({key}, PRIMARY KEY ({key})) WITHOUT ROWID"
        names = [column.name for column in plan.written]
        self._key_at = [names.index(name) for name in plan.key]
        self.total = self.changed = 0

    async def run(self, progress: Progress) -> Imported:
        """Import all rows of the reader.

        Raises:
            DataError: A row can't be, and bad rows are not left out.
        """
        updates = self._plan.on_conflict == "update"
        if updates:
            await self._driver.execute(self._make_seen)
        chunks = self._reader.chunks()
        coming = self._next(chunks)
        try:
            while (ready := await coming) is not None:
                coming = self._next(chunks)
                await self.write(ready)
                progress.advance(ready.chunk.size, rows=len(ready.chunk.raws))
        finally:
            # Its thread reads the file, which is about to be closed.
            await uninterrupted(_settled(coming))
        if updates:
            await self._driver.execute(f"DROP TABLE temp.{STAGING}")
        return Imported(self.total, self.changed)

    async def write(self, ready: _Ready) -> None:
        """Write one chunk; leave out what is bad, or raise it."""
        self.total += len(ready.chunk.raws)
        bad = [*ready.bad]
        self._give_up(bad)
        rows, at = ready.rows, ready.at
        if self._plan.on_conflict == "update":
            keys = [tuple(row[i] for i in self._key_at) for row in rows]
            _, twice = await self._many(self._seen, keys, "twice")
            failed = {i for i, _, _ in twice}
            bad += [self._bad(ready, at[i], i, state, text) for i, state, text in twice]
            at = [place for i, place in enumerate(at) if i not in failed]
            rows = [row for i, row in enumerate(rows) if i not in failed]
            ready = ready._replace(
                cells=[cells for i, cells in enumerate(ready.cells) if i not in failed]
            )
            self._give_up(bad)
        changed, refused = await self._many(self._insert, rows)
        bad += [self._bad(ready, at[i], i, state, text) for i, state, text in refused]
        self._give_up(bad)
        self.changed += changed
        for place, problem in sorted(bad):
            await self._rejects.add(ready.chunk.raws[place], problem)

    def _give_up(self, bad: Sequence[Bad]) -> None:
        if bad and not self._rejects.wanted:
            raise bad_rows(self._reader.source.name, [problem for _, problem in sorted(bad)])

    def _next(self, chunks: Iterator[Chunk]) -> asyncio.Future[_Ready | None]:
        def read() -> _Ready | None:
            chunk = next(chunks, None)
            return None if chunk is None else self.read(chunk)

        return asyncio.ensure_future(in_daemon_thread(read))

    def read(self, chunk: Chunk) -> _Ready:
        """Read the values of a chunk; blocks."""
        at, cells, bad = self._reader.parse(chunk, self._plan)
        found = list(bad)
        try:
            rows = self._values(cells) if cells else []
        except BadValue:
            at, cells, rows = self._one_by_one(chunk, at, cells, found)
        return _Ready(chunk, at, cells, rows, found)

    def _values(self, cells: Sequence[Cells]) -> list[tuple[Any, ...]]:
        columns = list(zip(*cells, strict=True))
        values = [
            convert(column, columns[at])
            for at, column in enumerate(self._plan.columns)
            if column is not None
        ]
        return list(zip(*values, strict=True))

    def _one_by_one(
        self, chunk: Chunk, at: Sequence[int], cells: Sequence[Cells], bad: list[Bad]
    ) -> tuple[list[int], list[Cells], list[tuple[Any, ...]]]:
        """Read the rows of a chunk in which some value is bad, and note each that is."""
        places, good, rows = [], [], []
        for place, row in zip(at, cells, strict=True):
            problem = self._problem(chunk.record(place).line, row)
            if problem is not None:
                bad.append((place, problem))
                continue
            places.append(place)
            good.append(row)
            rows += self._values([row])
        return places, good, rows

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
        self, statement: str, rows: Sequence[Sequence[Any]], state: str = ""
    ) -> tuple[int, list[tuple[int, str, str]]]:
        """Run a statement for each row; return the rows it changed, and those that are refused.

        A row that is refused ends the call of the driver, which then doesn't say how many rows it
        has changed: those before are done again, in a savepoint.
        """
        changed, start, refused = 0, 0, []
        while start < len(rows):
            counted = _Counted(rows[start:])
            await self._driver.execute(f"SAVEPOINT {STAGING}")
            try:
                changed += await self._execute(statement, counted)
            except sqlite3.IntegrityError as exc:
                failed = start + counted.taken - 1
                refused.append((failed, state or _STATES.get(exc.sqlite_errorname, ""), str(exc)))
                if not self._rejects.wanted:
                    return changed, refused
                await self._driver.execute(f"ROLLBACK TO {STAGING}")
                changed += await self._execute(statement, rows[start:failed])
                start = failed + 1
            else:
                start = len(rows)
            await self._driver.execute(f"RELEASE {STAGING}")
        return changed, refused

    async def _execute(self, statement: str, rows: Any) -> int:
        cursor = await self._driver.executemany(statement, rows)
        count: int = cursor.rowcount
        await cursor.close()
        return max(count, 0)

    def _bad(self, ready: _Ready, place: int, at: int, state: str, text: str) -> Bad:
        """Return what is wrong with a row that SQLite refused, which says so in its text."""
        where = text.partition(" failed: ")[2]
        names = [name.rpartition(".")[2] for name in where.split(", ")]
        if state == "twice":
            names = list(self._plan.key)
        at_file = [self._plan.names.index(name) for name in names if name in self._plan.names]
        columns = [column for i in at_file if (column := self._plan.columns[i]) is not None]
        values = [ready.cells[at][i] for i in at_file]
        constraint = where if state == _STATES["SQLITE_CONSTRAINT_CHECK"] else ""
        line = ready.chunk.record(place).line
        return place, problem_of(state, columns, values, line=line, constraint=constraint)


class _Counted:
    """Rows for the driver, which says how many it has taken."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self._rows = iter(rows)
        self.taken = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Sequence[Any]:
        row = next(self._rows)
        self.taken += 1
        return row


async def _settled(coming: asyncio.Future[_Ready | None]) -> None:
    await asyncio.wait([coming])
    if not coming.cancelled():
        coming.exception()  # what the run failed with was raised before


async def import_sqlite(
    session: AsyncSession, plan: Plan, reader: Reader, rejects: Rejects, progress: Progress
) -> Imported:
    """Import a whole file in the session's transaction."""
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection
    return await SqliteImport(driver, plan, reader, rejects).run(progress)
