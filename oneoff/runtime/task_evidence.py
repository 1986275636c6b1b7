"""Define the built-in checks of admin tasks: the record shows it, or the operator states it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from oneoff.core.conversion import duration_text
from oneoff.core.errors import CheckFailed
from oneoff.database.tables import maintenance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run
    from oneoff.core.task import Check

BACKUP_AGE = timedelta(hours=1)
"""The age up to which a backup counts as one that was made for this run."""


async def backup_completed(backups: Callable[[timedelta], Awaitable[Any]]) -> None:
    """Require a `db backup` of this database that was made in the last hour."""
    found = await backups(BACKUP_AGE)
    if not found.run_id:
        raise CheckFailed(
            f"no backup of this database was made in the last {duration_text(BACKUP_AGE)}"
            + (f": {found.note}" if found.note else ""),
            try_="python manage.py db backup",
        )


async def maintenance_window(session: AsyncSession) -> None:
    """Require that a maintenance window is open."""
    now = datetime.now(UTC)
    is_open = maintenance.c.ended_at.is_(None)
    lasts = or_(maintenance.c.expires_at.is_(None), maintenance.c.expires_at > now)
    if await session.scalar(select(maintenance.c.id).where(is_open, lasts)) is None:
        raise CheckFailed(
            "no maintenance window is open",
            try_="python manage.py system maintenance on --expires 2h --confirm",
        )


async def staging_run_successful(run: Run) -> None:
    """Require that the operator states a successful run in staging; oneoff can't know it."""
    if run.environment != "staging":
        raise CheckFailed("the runs of staging are not recorded here: state the id of that run")


async def on_call_notified() -> None:
    """Require that the operator states who is on call and was told; oneoff can't know it."""
    raise CheckFailed("oneoff can't know whom you have told: state who it was")


STATED = frozenset({staging_run_successful, on_call_notified})
"""The checks that only a statement of the operator passes, outside of staging."""
BUILT_IN: Mapping[str, Check] = {
    "backup-completed": backup_completed,
    "staging-run-successful": staging_run_successful,
    "maintenance-window": maintenance_window,
    "on-call-notified": on_call_notified,
}
"""The built-in checks by the names that `Task(checks=...)` and `--waive` take."""
