"""Rows inserted, updated and deleted in one transaction, by table, as the database counts them.

The session's own numbers would miss cascades, triggers and COPY, and some drivers report none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from oneoff.outcome import RowCounts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

VERSION_TABLE = "alembic_version"
FRAMEWORK_PREFIX = "oneoff_"


class RowCounter(ABC):
    """Counts on one connection.

    Attributes:
        reason: Why there are no numbers; empty when there are.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.reason = ""

    @abstractmethod
    async def start(self) -> None:
        """Begin the transaction and count from here; the first thing sent on the connection."""

    @abstractmethod
    async def changes(self) -> dict[str, RowCounts]:
        """Return the tables with changed rows, sorted by name."""


def make_counter(connection: AsyncConnection) -> RowCounter:
    """Return the counter for this kind of database."""
    if connection.dialect.name == "postgresql":
        return PostgresCounter(connection)
    return SQLiteCounter(connection)


class PostgresCounter(RowCounter):
    """Takes the server's statistics of the open transaction.

    Exact for ORM, Core, executemany, COPY, CTEs, triggers and cascades. Not exact: rows of a
    savepoint that was rolled back count, TRUNCATE and foreign tables don't. Rows of partitions
    count for the partitioned table.
    """

    async def start(self) -> None:
        """Remember what a pooler's server connection still holds of other transactions."""
        self._before = await self._read()

    async def changes(self) -> dict[str, RowCounts]:
        """Return the difference to the start."""
        now = await self._read()
        changes = {
            table: _difference(counts, self._before.get(table, RowCounts()))
            for table, counts in now.items()
        }
        return {table: changes[table] for table in sorted(changes) if any(changes[table])}

    async def _read(self) -> dict[str, RowCounts]:
        found = await self.connection.exec_driver_sql(_STATISTICS)
        counts = {row[0]: RowCounts(*row[1:]) for row in found.all()}
        if not counts.pop("").inserted:
            self.reason = "rows can't be counted: track_counts is off on the server"
        return counts


def _difference(now: RowCounts, before: RowCounts) -> RowCounts:
    return RowCounts(*(n - b for n, b in zip(now, before, strict=True)))


# The row without a name says whether the server counts at all.
_STATISTICS = f"""
SELECT coalesce(pg_partition_root(id), id)::regclass::text,
       sum(inserted)::int, sum(updated)::int, sum(deleted)::int
FROM (
    SELECT c.oid AS id,
           pg_stat_get_xact_tuples_inserted(c.oid) AS inserted,
           pg_stat_get_xact_tuples_updated(c.oid) AS updated,
           pg_stat_get_xact_tuples_deleted(c.oid) AS deleted
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND NOT starts_with(n.nspname, 'pg_') AND n.nspname <> 'information_schema'
      AND NOT starts_with(c.relname, '{FRAMEWORK_PREFIX}') AND c.relname <> '{VERSION_TABLE}'
) AS tables
WHERE inserted + updated + deleted > 0
GROUP BY 1
UNION ALL
SELECT '', (current_setting('track_counts') = 'on')::int, 0, 0
"""  # noqa: S608 - only constants


class SQLiteCounter(RowCounter):
    """Counts with temporary triggers, which only this connection has.

    Exact for everything that fires triggers, cascades included, and savepoints that were rolled
    back don't count. Not counted: the rows INSERT OR REPLACE removes, virtual tables, and tables
    the run itself creates.
    """

    async def start(self) -> None:
        """Put the triggers on every table; outside the transaction, where a script may run."""
        driver: Any = (await self.connection.get_raw_connection()).driver_connection
        tables = [name for (name,) in await driver.execute_fetchall(_TABLES)]
        await driver.executescript(_counting_script(tables))
        await self.connection.begin()

    async def changes(self) -> dict[str, RowCounts]:
        """Read the temporary table the triggers count in."""
        found = await self.connection.exec_driver_sql(_COUNTED)
        return {row[0]: RowCounts(*row[1:]) for row in found.all()}


_TABLES = f"""
SELECT name FROM pragma_table_list
WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND substr(name, 1, {len(FRAMEWORK_PREFIX)}) <> '{FRAMEWORK_PREFIX}' AND name <> '{VERSION_TABLE}'
"""  # noqa: S608 - only constants
_COUNTED = """
SELECT name, inserted, updated, deleted FROM temp.oneoff_row_counts
WHERE inserted + updated + deleted > 0 ORDER BY name
"""
_COLUMN_OF = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}


def _counting_script(tables: list[str]) -> str:
    script = [
        "CREATE TEMP TABLE oneoff_row_counts (id INTEGER PRIMARY KEY, name TEXT,"
        " inserted INTEGER DEFAULT 0, updated INTEGER DEFAULT 0, deleted INTEGER DEFAULT 0)"
    ]
    for number, table in enumerate(tables):
        text, name = table.replace("'", "''"), table.replace('"', '""')
        script.append(
            f"INSERT INTO oneoff_row_counts (id, name) VALUES ({number}, '{text}')"  # noqa: S608
        )
        script += [
            f'CREATE TEMP TRIGGER oneoff_count_{column}_{number} AFTER {event} ON main."{name}" '
            f"BEGIN UPDATE oneoff_row_counts SET {column} = {column} + 1 WHERE id = {number}; END"  # noqa: S608
            for event, column in _COLUMN_OF.items()
        ]
    return ";\n".join(script)
