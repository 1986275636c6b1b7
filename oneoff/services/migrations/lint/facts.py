"""Read from PostgreSQL what the rules need to know about the tables of the pending revisions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.database.tables import PREFIX
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

SMALL = 2**20  # bytes; PostgreSQL reads or writes this in a few milliseconds

# pg_table_size waits for the lock of the table. Without a limit, so would the run.
_LIMIT = "SELECT set_config('lock_timeout', '2s', true)"
# $1 are names of tables, $2 those of indexes, without their schemas. A table with partitions has no
# size itself, so its size is unknown.
_FACTS = """
WITH touched AS (
    SELECT c.oid, n.nspname, relname, reltuples, relhassubclass,
           CASE WHEN pg_table_is_visible(c.oid) THEN relname
                ELSE nspname || '.' || relname END AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')
      AND (relname = ANY ($1::text[]) OR c.oid IN (
          SELECT indrelid FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
          WHERE i.relname = ANY ($2::text[])))
)
SELECT json_build_object(
    'version', current_setting('server_version_num')::int,
    'tables', coalesce((SELECT json_agg(json_build_object(
        'names', ARRAY[name, nspname || '.' || relname],
        'rows', greatest(reltuples, -1)::bigint,
        'size', CASE WHEN NOT relhassubclass THEN pg_table_size(oid) END,
        'empty', NOT relhassubclass AND pg_relation_size(oid) = 0,
        'types', (SELECT json_object_agg(attname, format_type(atttypid, atttypmod))
                  FROM pg_attribute
                  WHERE attrelid = oid AND attnum > 0 AND NOT attisdropped),
        'checks', (SELECT json_object_agg(conname, pg_get_constraintdef(con.oid))
                   FROM pg_constraint AS con
                   WHERE conrelid = touched.oid AND contype = 'c' AND convalidated),
        'indexes', (SELECT json_agg(i.relname) FROM pg_index
                    JOIN pg_class AS i ON i.oid = indexrelid WHERE indrelid = touched.oid)
    )) FROM touched), '[]')
)::text
"""
_ANY_TABLE = {
    "postgresql": """
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND left(relname, $1) <> $2 AND relname <> 'alembic_version'
      AND nspname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(nspname, 'pg_')
)
""",
    "sqlite": """
SELECT count(*) > 0 FROM sqlite_master
WHERE type = 'table' AND substr(name, 1, ?) <> ? AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND name <> 'alembic_version'
""",
}


class TableFacts(NamedTuple):
    """What is known about one table.

    Attributes:
        rows: The estimate of the planner; -1 if the table was never analyzed.
        size: Bytes, without indexes; None if the table has partitions or children.
        empty: Whether it has no rows, and had none since it was last truncated or vacuumed.
        types: The types of the columns, as PostgreSQL writes them.
        checks: The definitions of the validated checks, by name.
    """

    rows: int = -1
    size: int | None = None
    empty: bool = False
    types: Mapping[str, str] = {}
    checks: Mapping[str, str] = {}

    @property
    def small(self) -> bool:
        """Whether reading and writing all of it takes no time worth mentioning."""
        return self.size is not None and self.size <= SMALL

    def __str__(self) -> str:
        parts = [counted(self.rows, "row")] if self.rows >= 0 else []
        parts += [f"{self.size / 2**20:,.0f} MiB"] if self.size is not None else []
        return f"about {', '.join(parts)}" if parts else ""


class Facts(NamedTuple):
    """What is known about the database.

    Attributes:
        version: Of the server, such as 150004; 0 if it is not PostgreSQL.
        tables: The facts of tables by name, with and without schema.
        indexes: The table of each index.
    """

    version: int = 0
    tables: Mapping[str, TableFacts] = {}
    indexes: Mapping[str, str] = {}


def read_facts(connection: Connection, tables: Collection[str], indexes: Collection[str]) -> Facts:
    """Read the facts of tables and indexes. Names without a schema are found in search_path.

    Raises:
        DBAPIError: A table stayed locked by another transaction.
    """
    if connection.dialect.name != "postgresql":
        return Facts()
    connection.exec_driver_sql(_LIMIT)
    names = [sorted({name.rpartition(".")[2] for name in of}) for of in (tables, indexes)]
    found = json.loads(connection.exec_driver_sql(_FACTS, tuple(names)).scalar_one())
    return Facts(
        found["version"],
        {name: _table(one) for one in found["tables"] for name in one["names"]},
        {index: one["names"][0] for one in found["tables"] for index in one["indexes"] or ()},
    )


def has_tables(connection: Connection) -> bool:
    """Return whether a database has tables besides those of the framework and of Alembic."""
    query = _ANY_TABLE[connection.dialect.name]
    return bool(connection.exec_driver_sql(query, (len(PREFIX), PREFIX)).scalar_one())


def _table(found: Mapping[str, Any]) -> TableFacts:
    return TableFacts(
        found["rows"], found["size"], found["empty"], found["types"] or {}, found["checks"] or {}
    )
