"""Define the built-in checks of admin tasks: the record shows it, or the operator states it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from oneoff.core.conversion import duration_text
from oneoff.core.errors import CheckFailed, ExitCode
from oneoff.database.tables import maintenance, runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run
    from oneoff.core.task import Check

BACKUP_AGE = timedelta(hours=1)
"""The age up to which a backup counts as one that was made for this run."""


async def backup_completed(session: AsyncSession) -> None:
    """Require a `db backup` of this database that has ended in the last hour."""
    ended = await session.scalar(
        select(func.max(runs.c.finished_at)).where(
            runs.c.command == "db backup",
            runs.c.exit_code == ExitCode.OK,
            runs.c.dry_run.is_(False),
        )
    )
    if ended is None or datetime.now(UTC) - ended > BACKUP_AGE:
        newest = f"the newest ended at {ended:%Y-%m-%d %H:%M} UTC" if ended else "there is none"
        raise CheckFailed(
            f"no backup has ended in the last {duration_text(BACKUP_AGE)}; {newest}",
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
    """Require a successful run of the task in staging, which the operator names."""
    if run.environment != "staging":
        raise CheckFailed("the runs of staging are not recorded here: state the id of that run")


async def on_call_notified() -> None:
    """Require that the person on call knows about the run, and is named by the operator."""
    raise CheckFailed("oneoff can't know whom you have told: state who it was")


BUILT_IN: Mapping[str, Check] = {
    "backup-completed": backup_completed,
    "staging-run-successful": staging_run_successful,
    "maintenance-window": maintenance_window,
    "on-call-notified": on_call_notified,
}
"""The built-in checks by the names that `Task(checks=...)` and `--waive` take."""
