"""Whether a maintenance window is open, for a process that asks at every request.

Read `_refresh` first: Redis where it has a fresh copy, else the database. Everything else makes
sure that no request waits for it: what was read is kept for a moment, a busy process reads the
next state before the moment is over, one reading serves all requests that wait, and none waits
longer than `PATIENCE`.
"""

from __future__ import annotations

import asyncio
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog

from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError
from oneoff.database.engine import Database
from oneoff.services.maintenance.bypass import is_pass
from oneoff.services.maintenance.redis_copy import RedisCopy, key_of
from oneoff.services.maintenance.store import read_window
from oneoff.services.maintenance.window import Window

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.services.maintenance.redis_copy import Copy

COPY_LIMIT = 1.0
"""Seconds for which a copy in Redis is believed: so the fleet asks the database once a second."""
KEPT = 0.5
"""Seconds a process keeps what it read, where Redis answers: it may have read a copy."""
KEPT_ALONE = 1.5
"""The same where there is no Redis to ask: then it comes straight from the database."""
EARLY = (0.5, 0.9)
"""Parts of that time after which a busy process reads the next state, so that no request waits."""
PATIENCE = 0.5
"""Seconds a request waits at most."""
REDIS_LIMIT = 0.25
"""Seconds Redis has for an answer; then the database is asked."""
DATABASE_LIMIT = 2.0
"""Seconds the database has for an answer; no request waits that long."""
PAUSE = 0.5
"""Seconds until the sources are asked again after both failed."""
REDIS_PAUSE = 5.0
"""Seconds for which a Redis that failed is left alone; the database is right without it."""

_log = structlog.get_logger(__name__)
_NEVER = float("-inf")


class _Known(NamedTuple):
    """The last state that was read, and when it was true."""

    window: Window | None
    at: float


class MaintenanceReader:
    """Knows whether a maintenance window is open; one for each process.

    It opens its connections when it is first asked: one to Redis that stays open, and one to the
    database for each reading, closed after it. Where neither answers, the last known state holds;
    a process that has never known one is not in maintenance.

    Args:
        config: DATABASE_URL, REDIS_URL (none: the database alone is asked) and SECRET_KEY.
        project: Its name is part of the copy's key.

    Raises:
        ConfigurationError: One of the URLs can't be used.
    """

    def __init__(self, config: Config, project: Project) -> None:
        url = parse_database_url(config.database_url, config.root, project.name)
        self._database = Database(url, run_id="reader")
        self._secret_key = config.secret_key
        self._copy: RedisCopy | None = None
        if config.redis_url:
            self._copy = RedisCopy(redis_url(config), key_of(project.name, url), limit=REDIS_LIMIT)
        self._known = _Known(None, _NEVER)
        self._fresh_until = self._early_at = _NEVER
        self._failed_at = self._copy_failed_at = _NEVER
        self._failing = self._copy_failing = False
        self._reading: asyncio.Task[None] | None = None
        self._reading_since = _NEVER

    async def window(self) -> Window | None:
        """Return the window that is open, or None. Never raises, and never waits long."""
        try:
            return await self._look()
        except Exception as exc:  # noqa: BLE001 - a fault in here must not stop the application
            self._fail(exc, None, monotonic())
            return None

    async def _look(self) -> Window | None:
        """Return the window that is open as far as is known; start or await a reading if due."""
        now = monotonic()
        if now >= self._early_at and now >= self._failed_at + PAUSE:
            self._read()
        if now >= self._fresh_until:
            await self._wait(now)
        window = self._known.window
        return window if window is not None and window.is_open() else None

    def accepts(self, given: bytes, window: Window) -> bool:
        """Return whether a client holds the pass through this window."""
        return is_pass(self._secret_key, window.id, given)

    async def aclose(self) -> None:
        """Stop reading and close the connection; being asked again opens it anew."""
        reading, self._reading = self._reading, None
        if reading is not None and _is_under_way(reading):
            reading.cancel()
            await asyncio.wait({reading})
        if self._copy is not None:
            await self._copy.aclose()
        await self._database.dispose()

    def _read(self) -> None:
        """Start reading, unless it is under way."""
        if self._reading is None or not _is_under_way(self._reading):
            self._reading_since = monotonic()
            self._reading = asyncio.create_task(self._refresh())

    async def _wait(self, now: float) -> None:
        """Wait for the reading under way, unless the one before failed a moment ago."""
        left = self._reading_since + PATIENCE - now
        failed_lately = now < self._failed_at + PAUSE + PATIENCE
        if self._reading is None or not _is_under_way(self._reading) or failed_lately or left <= 0:
            return
        # Unlike wait_for, it leaves the reading alone when the time is over.
        await asyncio.wait({self._reading}, timeout=left)

    async def _refresh(self) -> None:
        """Learn the state from a fresh copy, or from the database; then renew the copy."""
        began = monotonic()
        copy = await self._read_copy(began)
        if copy is not None and self._believes(copy, began):
            self._learn(_Known(copy.window, began - copy.age), began + KEPT)
            return
        try:
            async with asyncio.timeout(DATABASE_LIMIT):
                window = await read_window(self._database)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the last known state holds
            self._fail(exc, copy, began)
            return
        shared = self._shares(began)
        self._learn(_Known(window, began), began + (KEPT if shared else KEPT_ALONE))
        if shared:
            await self._write_copy(window, began)

    def _believes(self, copy: Copy, began: float) -> bool:
        """Return whether a copy is fresh, and does not contradict what was read since."""
        newer = began - copy.age >= self._known.at
        return copy.age <= COPY_LIMIT and (newer or copy.window == self._known.window)

    async def _read_copy(self, began: float) -> Copy | None:
        if self._copy is None or not self._shares(began):
            return None
        try:
            copy = await self._copy.read()
        except Exception as exc:  # noqa: BLE001 - the database knows it, too
            self._leave_copy_alone(exc)
            return None
        self._copy_failing = False
        return copy

    async def _write_copy(self, window: Window | None, began: float) -> None:
        age = monotonic() - began
        if self._copy is None or age >= COPY_LIMIT:
            return
        try:
            await self._copy.write(window, age=age)
        except Exception as exc:  # noqa: BLE001 - then the next process asks the database itself
            self._leave_copy_alone(exc)

    def _shares(self, now: float) -> bool:
        """Return whether there is a Redis that did not fail lately."""
        return self._copy is not None and now >= self._copy_failed_at + REDIS_PAUSE

    def _leave_copy_alone(self, exc: Exception) -> None:
        self._copy_failed_at = monotonic()
        if not self._copy_failing:
            self._copy_failing = True
            _log.warning("maintenance.copy_failed", error=_about(exc))

    def _learn(self, known: _Known, fresh_until: float) -> None:
        before, self._known = self._known.window, known
        now = monotonic()
        self._fresh_until = fresh_until
        # Not all at once: processes that were started together would go on asking together.
        self._early_at = now + (fresh_until - now) * uniform(*EARLY)  # noqa: S311 - no secret
        self._failed_at = _NEVER
        if self._failing:
            self._failing = False
            _log.warning("maintenance.reading_recovered")
        if (before and before.id) != (known.window and known.window.id):
            _log.info("maintenance.started" if known.window else "maintenance.ended")

    def _fail(self, exc: Exception, copy: Copy | None, began: float) -> None:
        self._failed_at = monotonic()
        # A copy too old to be believed is better than what this process knows of earlier times.
        if copy is not None and began - copy.age > self._known.at:
            self._known = _Known(copy.window, began - copy.age)
        if not self._failing:
            self._failing = True
            _log.warning("maintenance.reading_failed", error=_about(exc))


def _is_under_way(task: asyncio.Task[None]) -> bool:
    """Return whether a task will end some day; one of a loop that was closed will not."""
    return not task.done() and task.get_loop() is asyncio.get_running_loop()


def _about(exc: Exception) -> str:
    """Return what may be logged of an error: a driver's own message may quote a URL."""
    return exc.message if isinstance(exc, CommandError) else type(exc).__name__
