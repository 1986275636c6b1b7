"""Find the personal data that a view reads.

The models mark the columns of tables. Which column of a view shows which column of a table, no
database can say, because a view may compute its columns. So a view that reads personal data is not
exported without a reason. Tables that a view reads only inside a function are not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from oneoff.core.errors import Refused
from oneoff.services.data.tables import models_with_personal_data

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.project import Project
    from oneoff.services.data.tables import Table

# The columns that a view reads, and those that the views in it read. A view that reads a row as a
# whole (`varattno 0` in its rule) depends on no column of it, so it counts as a reader of all (-1).
# It depends on column 0 if it reads only the number of rows.
# A partition, or a table that inherits, has the marks of its parent.
_POSTGRESQL = text("""
WITH RECURSIVE read (oid, attnum) AS (
    SELECT to_regclass(:view)::oid, 0
    UNION
    SELECT d.refobjid,
           CASE WHEN r.ev_action::text LIKE '%varattno 0 %' THEN -1 ELSE d.refobjsubid END
    FROM read
    JOIN pg_rewrite r ON r.ev_class = read.oid AND r.ev_type = '1'
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
), same (oid, attnum, model) AS (
    SELECT oid, attnum, oid FROM read
    UNION
    SELECT same.oid, attnum, inhparent FROM same JOIN pg_inherits ON inhrelid = same.model
)
SELECT DISTINCT m.name || '.' || m.column_name
FROM unnest(CAST(:tables AS text[]), CAST(:names AS text[]), CAST(:columns AS text[]))
    m (quoted, name, column_name)
JOIN same ON same.model = to_regclass(m.quoted)::oid
LEFT JOIN pg_attribute a ON a.attrelid = same.oid AND a.attnum = same.attnum AND same.attnum > 0
WHERE same.attnum = -1 OR a.attname = m.column_name
ORDER BY 1
""")
_MOST_SHOWN = 10
# The tables that SQLite opens to read the view.
_SQLITE_TABLES = text("SELECT DISTINCT tbl_name, rootpage FROM sqlite_master WHERE rootpage > 0")


async def refuse_personal_data(connection: AsyncConnection, view: Table, project: Project) -> None:
    """Refuse to export a view that reads personal data.

    Raises:
        Refused: It reads columns that the models mark.
    """
    columns = await _personal_data_of(connection, view, project)
    if not columns:
        return
    more = f" and {len(columns) - _MOST_SHOWN} more" if len(columns) > _MOST_SHOWN else ""
    raise Refused(
        f"the view {view.name} reads personal data: {', '.join(columns[:_MOST_SHOWN])}{more}",
        why="it is unknown which of its columns show this data, so none can be masked",
        try_=(
            f"python manage.py data export {view.name} --include-pii --reason 'why'",
            "or declare a model for the view, and mark its columns",
        ),
        code="reason-required",
    )


async def _personal_data_of(
    connection: AsyncConnection, view: Table, project: Project
) -> list[str]:
    """Return the columns with personal data that a view reads, as "table.column", sorted.

    On SQLite these are all marked columns of the tables that it reads.
    """
    models = models_with_personal_data(project)
    marked = [(quoted, name, column) for quoted, name, columns in models for column in columns]
    if not marked:
        return []
    if view.dialect == "sqlite":
        explained = await connection.exec_driver_sql(
            f"EXPLAIN SELECT * FROM {view.quoted}"  # noqa: S608 - quoted
        )
        pages = {row.p2 for row in explained if row.opcode == "OpenRead"}
        tables = (await connection.execute(_SQLITE_TABLES)).all()
        read = {name.lower() for name, page in tables if page in pages}
        return sorted(f"{name}.{column}" for _, name, column in marked if name.lower() in read)
    quoted, names, columns = (list(part) for part in zip(*marked, strict=True))
    values = {"view": view.quoted, "tables": quoted, "names": names, "columns": columns}
    return list(await connection.scalars(_POSTGRESQL, values))
