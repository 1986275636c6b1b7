"""Find a table in the database's catalog by the name that an operator typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from oneoff.core.errors import NotFound, UsageError
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

# `identity` of a partition is that of its partitioned table, because the rows are the same.
# `names` are those of the table, and of those that it is a partition of or inherits from, each with
# and without its schema.
# `children` inherit from the table, and a SELECT from the table also returns their rows. Partitions
# are no children in this sense: all rows of a partitioned table are in them. The bits 7 of a
# trigger are FOR EACH ROW, BEFORE and INSERT.
_POSTGRESQL_TABLE = text("""
SELECT format('%I.%I', n.nspname, root.relname) AS identity,
       c.relkind IN ('v', 'm') AS is_view,
       ARRAY(WITH RECURSIVE same (oid) AS (
                 SELECT c.oid UNION SELECT inhparent FROM pg_inherits JOIN same ON inhrelid = oid
             )
             SELECT unnest(ARRAY[relname::text, concat(s.nspname, '.', relname)])
             FROM same JOIN pg_class p USING (oid) JOIN pg_namespace s ON s.oid = p.relnamespace
       ) AS names,
       ARRAY(SELECT inhrelid::regclass::text FROM pg_inherits
             WHERE inhparent = c.oid AND c.relkind <> 'p' ORDER BY 1) AS children,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal
               AND tgenabled <> 'D' AND tgtype & 7 = 7) AS has_trigger
FROM pg_class c
JOIN pg_class root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_namespace n ON n.oid = root.relnamespace
WHERE c.oid = to_regclass(concat(quote_ident(:schema) || '.', quote_ident(:name)))
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
""")
_POSTGRESQL_NAMES = text("""
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
""")
_SQLITE_TABLE = text(
    "SELECT name AS identity, type = 'view' AS is_view FROM sqlite_master "
    "WHERE name = :name COLLATE NOCASE AND type IN ('table', 'view')"
)
_SQLITE_NAMES = text(
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' "
    "ESCAPE '~'"
)
_PART = r'"(?:[^"]|"")+"|[^".]+'
_SQL_NAME = re.compile(rf"(?:({_PART})\.)?({_PART})")
_MOST_SHOWN = 20


class TableName(NamedTuple):
    """A table of the catalog.

    Attributes:
        schema: Its schema; None if the name was typed without one.
        name: Its name as the catalog has it.
        identity: Equal for all spellings of the name. For a partition, that of the partitioned
            table.
        is_view: Whether it is a view.
        children: The tables that inherit from it, as operators write their names.
        has_trigger: Whether a trigger may change a new row before its constraints are checked.
        names: All names by which the project may mean its rows: its own, and those of the tables
            that it is a partition of or inherits from, each with and without the schema.
    """

    schema: str | None
    name: str
    identity: str
    is_view: bool
    children: tuple[str, ...] = ()
    has_trigger: bool = False
    names: tuple[str, ...] = ()


async def find_name(connection: AsyncConnection, name: str) -> TableName | None:
    """Return the table that a typed name means; None if there is none.

    Raises:
        UsageError: The name means several tables.
    """
    found = [await look_up(connection, *parts) for parts in _possible_names(name)]
    tables = {table.identity: table for table in found if table is not None}
    if len(tables) > 1:
        raise UsageError(
            f"the name {name!r} means several tables",
            try_=f"quote the schema and the name as in SQL: {' or '.join(sorted(tables))}",
        )
    return next(iter(tables.values()), None)


async def look_up(connection: AsyncConnection, schema: str | None, name: str) -> TableName | None:
    """Return the table with this name; None if there is none."""
    if connection.dialect.name == "postgresql":
        names = {"schema": schema, "name": name}
        row = (await connection.execute(_POSTGRESQL_TABLE, names)).one_or_none()
        if row is None:
            return None
        return TableName(
            schema,
            name,
            row.identity,
            row.is_view,
            tuple(row.children),
            row.has_trigger,
            tuple(row.names),
        )
    if schema not in (None, "main"):
        return None
    row = (await connection.execute(_SQLITE_TABLE, {"name": name})).one_or_none()
    if row is None:
        return None
    both = (row.identity, f"main.{row.identity}")
    return TableName(None, row.identity, row.identity, bool(row.is_view), names=both)


async def all_names(connection: AsyncConnection) -> Collection[str]:
    """Return the names of all tables and views, with the schema where it is needed."""
    is_sqlite = connection.dialect.name == "sqlite"
    query = _SQLITE_NAMES if is_sqlite else _POSTGRESQL_NAMES
    return (await connection.scalars(query)).all()


async def unknown_table(
    connection: AsyncConnection, name: str, declared: Iterable[str]
) -> NotFound:
    """Return the error for a name that means no table, with a similar name if there is one."""
    names = sorted({*await all_names(connection), *declared})
    own = [known for known in names if not known.startswith("oneoff_")]
    shown = ", ".join(own[:_MOST_SHOWN]) or "none"
    near = similar(name, names, limit=1)
    return NotFound(
        f"there is no table {name!r}" + (f": did you mean {near[0]}?" if near else ""),
        why=f"the tables are: {shown}{' ...' if len(own) > _MOST_SHOWN else ''}",
        code="unknown-table",
    )


def _possible_names(name: str) -> list[tuple[str | None, str]]:
    """Return the schemas and names that a typed name may mean.

    Each dot may separate a schema and a table, or be part of one of the names. With quotes, the
    name may also be written as in SQL.
    """
    dots = [at for at, character in enumerate(name) if character == "."]
    names = [(None, name), *((name[:at], name[at + 1 :]) for at in dots)]
    if '"' in name and (found := _SQL_NAME.fullmatch(name)):
        names.append((_unquoted(found[1]), _unquoted(found[2])))
    return names


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part and part.startswith('"') else part
