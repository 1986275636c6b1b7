"""Find and drop every object of the project in a database. The framework's own tables stay.

The framework's tables hold the record of every run, including the run that drops the objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.project import load_object
from oneoff.database.tables import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection

# The query has four parts:
# 1. `spaces` are the schemas to empty: the default schema, and those that the models name ($1).
# 2. `dependent` are objects that must not be dropped separately. deptype 'e' is a member of an
#    extension, which belongs to the extension. 'i' and 'a' with refobjsubid > 0 (a column number)
#    are the sequences of serial and identity columns, which are dropped with their table.
# 3. The UNION lists relations, routines and types with the keyword that DROP needs. Array types
#    (typtype 'b') are dropped with their element type, and the row type of a table (typtype 'c')
#    with its table. So it lists only composite types made by CREATE TYPE (relkind 'c').
# 4. ORDER BY is the order in which to drop. Each DROP has CASCADE, so it may also drop objects that
#    come later in the list. IF EXISTS skips those.
# $2 is the prefix of the framework's own tables, which stay.
_POSTGRESQL = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema() OR nspname = ANY ($1)
), dependent AS (
    SELECT classid, objid FROM pg_depend WHERE deptype IN ('e', 'i', 'a')
      AND refclassid IN ('pg_extension'::regclass, 'pg_class'::regclass)
      AND (deptype = 'e' OR refobjsubid > 0)
)
SELECT kind, nspname, name, arguments FROM (
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                        WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
           relnamespace, relname, '', 'pg_class'::regclass, oid
    FROM pg_class WHERE relkind IN ('v', 'm', 'S', 'f', 'r', 'p')
  UNION ALL
    SELECT CASE prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END, pronamespace, proname,
           '(' || CASE WHEN prokind = 'a' AND pronargs = 0 THEN '*'
                       ELSE pg_get_function_identity_arguments(oid) END || ')',
           'pg_proc'::regclass, oid
    FROM pg_proc WHERE prokind IN ('f', 'p', 'w', 'a')
  UNION ALL
    SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, typnamespace, typname, '',
           'pg_type'::regclass, oid
    FROM pg_type WHERE typtype IN ('e', 'd', 'r')
       OR typtype = 'c' AND typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
) AS objects (kind, space, name, arguments, catalog, oid)
JOIN spaces ON spaces.oid = space
WHERE NOT EXISTS (SELECT FROM dependent WHERE classid = catalog AND objid = objects.oid)
  AND NOT starts_with(name, $2)
ORDER BY array_position(ARRAY['VIEW', 'MATERIALIZED VIEW', 'TABLE', 'FOREIGN TABLE', 'SEQUENCE',
                              'AGGREGATE', 'ROUTINE', 'DOMAIN', 'TYPE'], kind),
         nspname, name, arguments
"""
# Schemas that revisions create ($1) have to be dropped themselves. The one with the framework's
# tables stays; $2 is their prefix. The last part is Alembic's version table, which env.py may have
# put into another schema ($3, $4).
_POSTGRESQL_OUTSIDE = """
SELECT 'SCHEMA', '', nspname, '' FROM pg_namespace WHERE nspname = ANY ($1)
   AND nspname <> current_schema()
   AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid
                                          AND starts_with(relname, $2))
UNION ALL
SELECT 'TABLE', nspname, relname, '' FROM pg_class
  JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE nspname = $3 AND relname = $4 AND relkind = 'r'
"""
# `type DESC` lists views before tables. Indexes and triggers are dropped with their table. Tables
# named sqlite_* belong to SQLite. The parameters are the length of the framework's prefix, and the
# prefix.
_SQLITE = """
SELECT upper(type), '', name, '' FROM sqlite_master
WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND substr(name, 1, ?) <> ?
ORDER BY type DESC, name
"""


class DatabaseObject(NamedTuple):
    """One table, view, sequence, routine or type of the project in the database.

    Attributes:
        kind: The keyword of the DROP statement: "TABLE", "MATERIALIZED VIEW", ...
        schema: Empty on SQLite.
        name: The name as stored, without quotes.
        arguments: The argument types of a routine: "(integer, text)"; else empty.
    """

    kind: str
    schema: str
    name: str
    arguments: str = ""

    def drop(self, dialect: Dialect) -> str:
        """Return the DROP statement; on PostgreSQL it also drops everything that depends on it."""
        quote = dialect.identifier_preparer.quote
        name = f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)
        cascade = " CASCADE" if self.schema or self.kind == "SCHEMA" else ""
        return f"DROP {self.kind} IF EXISTS {name}{self.arguments}{cascade}"


def model_schemas(metadata: str) -> Sequence[str]:
    """Return the schemas that the models name; `metadata` is where the project has them."""
    tables = load_object(metadata).tables.values() if metadata else ()
    return sorted({table.schema for table in tables if table.schema})


async def find_objects(
    connection: AsyncConnection,
    schemas: Sequence[str],
    created_schemas: Sequence[str] = (),
    version_table: tuple[str, str] = ("", ""),
) -> list[DatabaseObject]:
    """Return every object of the project, in the order in which they can be dropped.

    Args:
        connection: Used only for reading.
        schemas: The schemas that the models use besides the default one.
        created_schemas: The schemas that revisions create, which are dropped themselves.
        version_table: The schema and name of Alembic's version table; empty for the default.
    """
    if connection.dialect.name != "postgresql":
        found = await connection.exec_driver_sql(_SQLITE, (len(PREFIX), PREFIX))
        return [DatabaseObject._make(row) for row in found.all()]
    created, (schema, table) = list(created_schemas), version_table
    outside = await connection.exec_driver_sql(
        _POSTGRESQL_OUTSIDE, (created, PREFIX, schema, table or "alembic_version")
    )
    found = await connection.exec_driver_sql(_POSTGRESQL, ([*schemas, *created], PREFIX))
    rows = [DatabaseObject._make(row) for row in (*found.all(), *outside.all())]
    return list(dict.fromkeys(rows))


async def drop_objects(connection: AsyncConnection, objects: Sequence[DatabaseObject]) -> None:
    """Drop the objects in the connection's transaction. The caller commits it."""
    from sqlalchemy import delete

    from oneoff.database.tables import applied_revisions

    for found in objects:
        await connection.exec_driver_sql(found.drop(connection.dialect))
    # The table of applied revisions stays, because it belongs to the framework. Its rows name
    # revisions that are no longer applied.
    await connection.execute(delete(applied_revisions))
