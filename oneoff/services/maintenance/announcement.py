"""Tell Redis what was decided, as soon as the database has it: the resource `announcement`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.config.settings import Config
from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.core.project import Project
from oneoff.services.maintenance.redis_copy import RedisCopy, open_copy

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger as Logger

    from oneoff.services.maintenance.window import Window


class Announcement:
    """What the other processes shall hear once it is committed.

    Attributes:
        problem: Why Redis can't tell them; empty where it can, and where there is none.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.made = False
        self.window: Window | None = None

    def make(self, window: Window | None) -> None:
        """Announce a window, or that none is open; it is sent after the commit."""
        self.made, self.window = True, window


@asynccontextmanager
async def open_announcement(
    config: Config, project: Project, mode: Mode, log: Logger
) -> AsyncIterator[Announcement]:
    """Give the resource `announcement`; leaving it sends what was announced.

    The executor commits before it closes resources, and a run that failed leaves this one by its
    error: so nothing is announced that the database does not have.
    """
    announcement = Announcement()
    if mode is not Mode.COMMIT or not config.redis_url:
        yield announcement
        return
    async with open_copy(config, project) as copy:
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
    except CommandError as exc:  # it is done all the same, and soon every process knows
        log.warning("maintenance.copy_failed", error=exc.message)
