"""Find and drop everything of the project in a database; the framework's own tables stay.

The framework's tables hold the record of every run, this one included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oneoff.database.tables import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection

# Objects of extensions belong to the extension, and sequences of a column go with its table.
_POSTGRESQL = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema() OR nspname = ANY ($1)
), free AS (
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
    SELECT 'ROUTINE', pronamespace, proname, '(' || pg_get_function_identity_arguments(oid) || ')',
           'pg_proc'::regclass, oid
    FROM pg_proc WHERE prokind IN ('f', 'p', 'w', 'a')
  UNION ALL
    SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, typnamespace, typname, '',
           'pg_type'::regclass, oid
    FROM pg_type WHERE typtype IN ('e', 'd', 'r')
       OR typtype = 'c' AND typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
) AS things (kind, space, name, arguments, catalog, oid)
JOIN spaces ON spaces.oid = space
WHERE NOT EXISTS (SELECT FROM free WHERE classid = catalog AND objid = things.oid)
  AND NOT starts_with(name, $2)
ORDER BY array_position(ARRAY['VIEW', 'MATERIALIZED VIEW', 'TABLE', 'FOREIGN TABLE', 'SEQUENCE',
                              'ROUTINE', 'DOMAIN', 'TYPE'], kind), nspname, name, arguments
"""
_SQLITE = """
SELECT upper(type), '', name, '' FROM sqlite_master
WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND substr(name, 1, ?) <> ?
ORDER BY type DESC, name
"""


class Thing(NamedTuple):
    """Something of the project in the database.

    Attributes:
        kind: "TABLE", "VIEW", ...
        schema: Empty on SQLite.
        name: As stored.
        arguments: Of a routine: "(integer, text)".
    """

    kind: str
    schema: str
    name: str
    arguments: str = ""

    def drop(self, dialect: Dialect) -> str:
        """Return the statement that drops it, and what depends on it."""
        quote = dialect.identifier_preparer.quote
        name = f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)
        cascade = " CASCADE" if self.schema else ""
        return f"DROP {self.kind} IF EXISTS {name}{self.arguments}{cascade}"


async def find(connection: AsyncConnection, schemas: Sequence[str]) -> list[Thing]:
    """Return everything of the project, in the order in which it can be dropped.

    Args:
        connection: Only read from.
        schemas: Those the models use beside the default one.
    """
    if connection.dialect.name == "postgresql":
        found = await connection.exec_driver_sql(_POSTGRESQL, (list(schemas), PREFIX))
    else:
        found = await connection.exec_driver_sql(_SQLITE, (len(PREFIX), PREFIX))
    return [Thing._make(row) for row in found.all()]


async def drop(connection: AsyncConnection, things: Sequence[Thing]) -> None:
    """Drop them in the connection's transaction; the caller commits it."""
    from sqlalchemy import delete

    from oneoff.database.tables import applied_revisions

    for thing in things:
        await connection.exec_driver_sql(thing.drop(connection.dialect))
    await connection.execute(delete(applied_revisions))
