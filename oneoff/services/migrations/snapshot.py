"""Describe the schema of a database line by line, so that two states can be compared.

The lines come from the catalogue of the database. They leave out what a rollback may change: the
order of columns, and the framework's own tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.database.tables import PREFIX
from oneoff.services.migrations.sqlite_sql import (
    TableSQL,
    join,
    kind_of,
    name_of,
    normalized,
    tokens,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_POSTGRESQL = """
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
), relations AS (
    SELECT c.oid, relkind, relpersistence, format('%I.%I', nspname, relname) AS name
    FROM pg_class c JOIN spaces ON spaces.oid = relnamespace
    WHERE NOT starts_with(relname, $1) AND relname <> 'alembic_version'
)
SELECT format('%s %s', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
       WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END, name)
FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL
SELECT format('column %s.%I %s%s%s%s%s%s', name, attname, format_type(atttypid, atttypmod),
       CASE WHEN attnotnull THEN ' not null' END, ' default ' || pg_get_expr(adbin, adrelid),
       ' identity ' || nullif(attidentity::text, ''),
       ' generated ' || nullif(attgenerated::text, ''),
       CASE WHEN attcollation <> typcollation
            THEN ' collate ' || attcollation::regcollation::text END)
FROM relations JOIN pg_attribute a ON attrelid = relations.oid AND attnum > 0 AND NOT attisdropped
JOIN pg_type ON pg_type.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind IN ('r', 'p', 'f')
UNION ALL
SELECT format('constraint %s on %s: %s', conname, name, pg_get_constraintdef(c.oid))
FROM pg_constraint c JOIN relations ON relations.oid = conrelid WHERE contype <> 'n'
UNION ALL
SELECT format('index %s', pg_get_indexdef(indexrelid))
FROM pg_index JOIN relations ON relations.oid = indrelid
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(t.oid))
FROM pg_trigger t JOIN relations ON relations.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT format('enum %I.%I: %s', nspname, typname,
       string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder))
FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid JOIN spaces ON spaces.oid = typnamespace
GROUP BY nspname, typname
UNION ALL
SELECT format('comment on %s %s: %s', name, objsubid, description)
FROM pg_description JOIN relations ON objoid = relations.oid
WHERE classoid = 'pg_class'::regclass AND objsubid = 0
ORDER BY 1
"""
_SQLITE = """
SELECT type, name, tbl_name, sql FROM sqlite_master
WHERE sql IS NOT NULL AND substr(name, 1, ?) <> ? AND name <> 'alembic_version'
  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name
"""


async def take_snapshot(connection: AsyncConnection) -> frozenset[str]:
    """Return the lines that describe the schema. Only reads."""
    if connection.dialect.name == "postgresql":
        found = await connection.exec_driver_sql(_POSTGRESQL, (PREFIX,))
        return frozenset(found.scalars())
    found = await connection.exec_driver_sql(_SQLITE, (len(PREFIX), PREFIX))
    lines: set[str] = set()
    rows: list[Any] = [*found.all()]
    for kind, name, table, sql in rows:
        words = tokens(sql)
        if kind == "table" and words[1].upper() == "TABLE":
            lines |= _lines_of(table, TableSQL.parse(sql))
        else:
            lines.add(f"{kind} {name} on {table}: {' '.join(normalized(words))}")
    return frozenset(lines)


def _lines_of(name: str, table: TableSQL) -> set[str]:
    """Return the lines of a SQLite table: one for each column and constraint."""
    lines = {f"table {name} {join(table.options)}".rstrip()}
    for column in table.columns:
        clauses = sorted(" ".join(normalized(clause)) for clause in column.clauses)
        lines.add(f"column {name}.{column.name} {join(column.type)} {' '.join(clauses)}".rstrip())
    for constraint in table.constraints:
        # Nothing refers to the name of a primary key in SQLite.
        if kind_of(constraint) == "PRIMARY" and name_of(constraint):
            del constraint[:2]
        lines.add(f"constraint on {name}: {' '.join(normalized(constraint))}")
    return lines
