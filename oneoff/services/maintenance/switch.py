"""Open, change and end maintenance windows, and update the copy in Redis after the commit.

`system maintenance on` and `off` call `switch_on` and `switch_off`, and pass the result to the
resource `announcement`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from oneoff.config.settings import Config
from oneoff.core.conversion import duration_text
from oneoff.core.errors import CommandError, UsageError
from oneoff.core.policy import Mode
from oneoff.services.maintenance import store
from oneoff.services.maintenance.redis_copy import RedisCopy, open_copy
from oneoff.services.maintenance.store import Record
from oneoff.services.maintenance.window import Window

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.core.run import Run

LONGEST = timedelta(days=365)
"""Maximum of --expires; a longer time is probably a typing error."""


async def switch_on(
    session: AsyncSession, run: Run, *, expires: timedelta | None, message: str | None
) -> tuple[Record | None, Record]:
    """Open a window, or change the end or message of the open one.

    Args:
        session: The caller commits it. In a dry run, nothing is written.
        run: The run that opens the window. Its start is the start of the window.
        expires: Time from the run's start to the end of the window. None keeps the present end; a
            new window then has no end.
        message: The text for visitors. None keeps the present text; a new window then has the
            default text.

    Returns:
        The window that was open before, and the one that is open now. They are equal if nothing
        was changed.

    Raises:
        UsageError: `expires` is not positive, or longer than `LONGEST`.
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
    """End the open window and return it. In a dry run, nothing is written."""
    open_one = await store.find_open(session, run.started_at)
    if open_one is not None and not run.dry_run:
        await store.end(session, run.started_at)
    return open_one


def _end(now: datetime, expires: timedelta | None) -> datetime | None:
    if expires is None:
        return None
    if not timedelta() < expires <= LONGEST:
        wrong = f"is longer than {LONGEST.days} days" if expires > LONGEST else "is not positive"
        raise UsageError(
            f"--expires {duration_text(expires)} {wrong}",
            try_="python manage.py system maintenance on --expires 2h",
        )
    return now + expires


class Announcement:
    """The change that is written to the copy in Redis after the commit.

    Attributes:
        problem: Why the copy can't be written; empty if it can be, or if Redis is not used.
        made: Whether there is a change to write.
        window: The window that is open after the commit; None if no window is.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.made = False
        self.window: Window | None = None

    def make(self, window: Window | None) -> None:
        """Store what to write after the commit: the open window, or None."""
        self.made, self.window = True, window


@asynccontextmanager
async def open_announcement(config: Config, mode: Mode, log: Logger) -> AsyncIterator[Announcement]:
    """Open the resource `announcement`. Closing it writes the announced window to Redis.

    The executor commits before it closes resources. If the run fails, its exception leaves this
    context manager and nothing is written. So Redis never gets a state that was not committed.
    """
    announcement = Announcement()
    if mode is not Mode.COMMIT or not config.redis_url:
        yield announcement
        return
    async with open_copy(config) as copy:
        # Check Redis before the work, so that the command can warn of a problem in its result.
        announcement.problem = await _problem(copy)
        yield announcement
        if announcement.made and not announcement.problem:
            await _send(copy, announcement.window, log)


async def _problem(copy: RedisCopy) -> str:
    try:
        await copy.read()
    except CommandError as exc:
        return exc.message
    return ""


async def _send(copy: RedisCopy, window: Window | None, log: Logger) -> None:
    try:
        await copy.write(window)
    except CommandError as exc:  # the change is committed; an old copy is soon ignored
        log.warning("maintenance.copy_failed", error=exc.message)
