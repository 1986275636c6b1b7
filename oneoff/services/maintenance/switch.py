"""Open, change and end maintenance windows: what `system maintenance on` and `off` do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from oneoff.core.conversion import duration_text
from oneoff.core.errors import UsageError
from oneoff.services.maintenance import store
from oneoff.services.maintenance.store import Record
from oneoff.services.maintenance.window import Window

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run

LONGEST = timedelta(days=365)
"""A window that ends by itself does so within a year; a longer one is a slip of the keyboard."""


async def switch_on(
    session: AsyncSession, run: Run, *, expires: timedelta | None, message: str | None
) -> tuple[Record | None, Record]:
    """Open a window, or give the one that is open another end or message.

    Args:
        session: The caller commits it. In a dry run nothing is written.
        run: Whose window it is; its start is the window's.
        expires: How long from now; None leaves it as it is, or without an end.
        message: What visitors are told; None leaves it as it is, or says the usual.

    Returns:
        What was open before, and what is now: the same if there was nothing to do.

    Raises:
        UsageError: The time makes no sense.
    """
    end = _end(run.started_at, expires)
    before = await store.find_open(session, run.started_at)
    if before is None:
        window = Window(uuid4().hex, run.started_at, end, message or "")
        after = Record(window, run.reason, run.operator.name, run.id)
        if not run.dry_run:
            await store.begin(session, after)
        return None, after
    old = before.window
    window = old._replace(
        expires_at=end or old.expires_at, message=old.message if message is None else message
    )
    if window != old and not run.dry_run:
        await store.change(session, window)
    return before, before._replace(window=window)


async def switch_off(session: AsyncSession, run: Run) -> Record | None:
    """End the window that is open, and return it; in a dry run nothing is written."""
    open_one = await store.find_open(session, run.started_at)
    if open_one is not None and not run.dry_run:
        await store.end(session, run.started_at)
    return open_one


def _end(now: datetime, expires: timedelta | None) -> datetime | None:
    if expires is None:
        return None
    if not timedelta() < expires <= LONGEST:
        wrong = f"is longer than {LONGEST.days} days" if expires > LONGEST else "is no time at all"
        raise UsageError(
            f"--expires {duration_text(expires)} {wrong}",
            try_="python manage.py system maintenance on --expires 2h",
        )
    return now + expires
