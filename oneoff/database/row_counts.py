"""Count the rows that one transaction inserted, updated and deleted, by table.

The database counts them. The session's own numbers would miss cascades, triggers and COPY, and some
drivers report none. The tables of the framework (oneoff_*) and of Alembic are not counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from operator import add, sub
from typing import TYPE_CHECKING, Any

from oneoff.core.outcome import RowCounts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class RowCounter(ABC):
    """Counts the changed rows of one connection.

    Attributes:
        reason: Why there are no counts; empty if there are.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.reason = ""

    @abstractmethod
    async def start(self) -> None:
        """Begin the count, and on SQLite the transaction too."""

    @abstractmethod
    async def changes(self) -> dict[str, RowCounts]:
        """Return the tables with changed rows, sorted by name."""


def make_counter(connection: AsyncConnection) -> RowCounter:
    """Return the counter for this kind of database."""
    if connection.dialect.name == "postgresql":
        return PostgresCounter(connection)
    return SQLiteCounter(connection)


class PostgresCounter(RowCounter):
    """Reads the server's statistics of the open transaction (pg_stat_get_xact_*).

    The counts are exact for ORM, Core, executemany, COPY, CTEs, triggers and cascades. Rows of a
    savepoint that was rolled back are counted too. TRUNCATE and foreign tables are not counted.
    Rows of partitions count for the partitioned table.
    """

    async def start(self) -> None:
        """Store the present counts, to subtract them later, unless they are known to be zero.

        A server process reports its counts to the shared statistics at most once per second. Until
        then, the counts of its earlier transactions are included. Behind a pooler, the process may
        just have worked for another client, whose rows would count for this run.
        """
        driver: Any = (await self.connection.get_raw_connection()).driver_connection
        if driver.server_process is None:
            driver.server_process = tuple((await self.connection.exec_driver_sql(_SERVER)).one())
        process, counts = driver.server_process
        if not counts:
            self.reason = "rows can't be counted: track_counts is off on the server"
        # When a client connects, a pooler reports an invented process id. If the ids are equal,
        # there is no pooler, the server process is new, and its earlier counts are zero.
        self._before = {} if process == driver.get_server_pid() else await self._read()

    async def changes(self) -> dict[str, RowCounts]:
        """Return the difference between the present counts and those at the start."""
        return subtract_counts(await self._read(), self._before)

    async def _read(self) -> dict[str, RowCounts]:
        found = await self.connection.exec_driver_sql(_STATISTICS)
        tables: dict[str, RowCounts] = {}
        for row in found.all():  # a partitioned table has one row for each partition
            so_far = tables.get(row[0], RowCounts())
            tables[row[0]] = RowCounts(*map(add, so_far, row[1:]))
        return tables


def subtract_counts(
    now: Mapping[str, RowCounts], before: Mapping[str, RowCounts]
) -> dict[str, RowCounts]:
    """Return the differences of two counts by table, sorted by name, without equal ones."""
    changes = {
        table: RowCounts(*map(sub, now[table], before.get(table, RowCounts())))
        for table in sorted(now)
    }
    return {table: counts for table, counts in changes.items() if any(counts)}


_SERVER = "SELECT pg_backend_pid(), current_setting('track_counts') = 'on'"
# This query runs once or twice per run, and the server process has cached nothing yet, so joins
# would double its time. Object ids below 16384 belong to the server's own tables; relkind 'r' are
# ordinary tables and partitions; relpersistence 't' are temporary tables.
_STATISTICS = """
SELECT coalesce(pg_partition_root(oid), oid)::regclass::text,
       pg_stat_get_xact_tuples_inserted(oid),
       pg_stat_get_xact_tuples_updated(oid),
       pg_stat_get_xact_tuples_deleted(oid)
FROM pg_class
WHERE oid >= 16384 AND relkind = 'r' AND relpersistence <> 't'
  AND NOT starts_with(relname, 'oneoff_') AND relname <> 'alembic_version'
  AND pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
    + pg_stat_get_xact_tuples_deleted(oid) > 0
"""


class SQLiteCounter(RowCounter):
    """Counts with temporary triggers, which only this connection has.

    The counts are exact for all changes that fire triggers, including cascades; changes of a
    savepoint that was rolled back are not counted. Also not counted are rows that INSERT OR REPLACE
    deletes, virtual tables, and tables that the run itself creates.
    """

    async def start(self) -> None:
        """Create the triggers, then begin, because `executescript` commits an open transaction."""
        driver: Any = (await self.connection.get_raw_connection()).driver_connection
        tables = [name for (name,) in await driver.execute_fetchall(_TABLES)]
        await driver.executescript(_counting_script(tables))
        await self.connection.begin()

    async def changes(self) -> dict[str, RowCounts]:
        """Return the counts from the temporary table that the triggers update."""
        found = await self.connection.exec_driver_sql(_COUNTED)
        return {row[0]: RowCounts(*row[1:]) for row in found.all()}


@asynccontextmanager
async def counting_inserts(driver: Any, table: str) -> AsyncIterator[list[int]]:
    """Let the caller count the rows that it inserts into one SQLite table, instead of a trigger.

    The trigger would take a third of the time.

    Args:
        driver: aiosqlite's connection, in the transaction of a run.
        table: Name of the table, not quoted. A table that has its own triggers keeps the counting
            trigger too.

    Yields:
        A list, to which the caller appends numbers of inserted rows.
    """
    inserted: list[int] = []
    counts = await driver.execute_fetchall(_HAS_COUNTS)
    # The list has the number of the table, or is empty: then the triggers count as usual.
    numbers = await driver.execute_fetchall(_COUNTER_OF_TABLE, (table, table)) if counts else []
    for (number,) in numbers:
        await driver.execute(f"DROP TRIGGER temp.{_trigger_name('inserted', number)}")
    yield inserted
    for (number,) in numbers:
        await driver.execute(_ADD_INSERTED, (sum(inserted), number))
        await driver.execute(_trigger(number, table, "INSERT"))


_HAS_COUNTS = "SELECT 1 FROM temp.sqlite_master WHERE name = 'oneoff_row_counts'"
# The number of a table's counting triggers; no row if the table has triggers of its own.
_COUNTER_OF_TABLE = """
SELECT id FROM temp.oneoff_row_counts WHERE name = ?
AND NOT EXISTS (SELECT 1 FROM main.sqlite_master
                WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE)
"""
_ADD_INSERTED = "UPDATE temp.oneoff_row_counts SET inserted = inserted + ? WHERE id = ?"
# Ordinary tables, without those of SQLite, the framework and Alembic. Virtual tables can't have
# triggers.
_TABLES = """
SELECT name FROM pragma_table_list
WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND name NOT LIKE 'oneoff\\_%' ESCAPE '\\' AND name <> 'alembic_version'
"""
_COUNTED = """
SELECT name, inserted, updated, deleted FROM temp.oneoff_row_counts
WHERE inserted + updated + deleted > 0 ORDER BY name
"""
_COUNTS = """
CREATE TEMP TABLE oneoff_row_counts (
    id INTEGER PRIMARY KEY, name TEXT,
    inserted INTEGER DEFAULT 0, updated INTEGER DEFAULT 0, deleted INTEGER DEFAULT 0
)
"""
_COLUMN_OF = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}


def _counting_script(tables: list[str]) -> str:
    script = [_COUNTS]
    for number, table in enumerate(tables):
        text = table.replace("'", "''")
        script.append(f"INSERT INTO oneoff_row_counts (id, name) VALUES ({number}, '{text}')")  # noqa: S608
        script += [_trigger(number, table, event) for event in _COLUMN_OF]
    return ";\n".join(script)


def _trigger(number: int, table: str, event: str) -> str:
    column, name = _COLUMN_OF[event], table.replace('"', '""')
    count = f"UPDATE oneoff_row_counts SET {column} = {column} + 1 WHERE id = {number}"  # noqa: S608
    trigger = f'{_trigger_name(column, number)} AFTER {event} ON main."{name}"'
    return f"CREATE TEMP TRIGGER {trigger} BEGIN {count}; END"


def _trigger_name(column: str, number: int) -> str:
    return f"oneoff_count_{column}_{number}"
