"""Count the runs whose review is overdue, for health checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from oneoff.database.queries_as_text import query_if, read_values

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

DUE = timedelta(days=7)
"""The time after which the review of a run with `--break-glass` is overdue."""

# The condition of `oneoff.services.audit.reviews.owes_review`, with the index of revision 0008.
_OVERDUE = """
FROM oneoff_runs AS run WHERE break_glass <> '' AND status <> 'refused' AND started_at < {before}
 AND NOT EXISTS (SELECT 1 FROM oneoff_audit WHERE run_id = run.id AND kind = 'reviewed')
"""
_MAY_READ = " AND ".join(
    f"has_table_privilege(to_regclass('{table}'), 'SELECT')"
    for table in ("oneoff_runs", "oneoff_audit")
)
_POSTGRESQL = "SELECT " + query_if(
    _MAY_READ, "count(*)", _OVERDUE.format(before=f"now() - interval '{DUE.days} days'")
)
_SQLITE_ABOUT = "SELECT 1 FROM sqlite_master WHERE name = 'oneoff_audit'"
_SQLITE = f"SELECT count(*) {_OVERDUE.format(before='?')}"


async def overdue_reviews(connection: AsyncConnection) -> int:
    """Return the number of runs; 0 if there is no record, or the role may not read it.

    On PostgreSQL it is one statement.
    """
    if connection.dialect.name == "postgresql":
        found = await connection.exec_driver_sql(_POSTGRESQL)
        (count,) = read_values(found.scalar_one()) or (0,)
        return int(count)
    if (await connection.exec_driver_sql(_SQLITE_ABOUT)).first() is None:
        return 0
    before = (datetime.now(UTC) - DUE).strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy stores it
    counted = await connection.exec_driver_sql(_SQLITE, (before,))
    return int(counted.scalar_one())
