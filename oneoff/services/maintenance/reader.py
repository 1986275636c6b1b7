"""Report to a long-running process, at every request, whether a maintenance window is open.

Start with `_refresh`: it reads the state from Redis if the copy there is fresh, else from the
database. The other methods make sure that requests rarely wait for it:

- A state counts as fresh for `FRESH_WITH_REDIS` or `FRESH_WITHOUT_REDIS` seconds after it was read.
- After a random part of that time (`REFRESH_AT`), the next request starts a reading in the
  background and still uses the old state. So a busy process always has a fresh state.
- If the state is no longer fresh, requests wait for the reading in progress, each for at most
  `REQUEST_WAIT` seconds. Then they use the last known state.
- If both sources fail, the last known state is used. The sources are asked again after
  `RETRY_AFTER` seconds.

The age of a state has several parts: a copy may be `MAX_COPY_AGE` seconds old when it is read, and
is then used for `FRESH_WITH_REDIS` seconds. With the time of the reading, the sum stays below
`STALE_LIMIT`. A state from the database has age 0, so without Redis it may be used longer.
"""

from __future__ import annotations

import asyncio
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog

from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError
from oneoff.database.engine import Database
from oneoff.services.maintenance.redis_copy import RedisCopy, key_of
from oneoff.services.maintenance.store import read_window
from oneoff.services.maintenance.window import Window, is_pass

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.services.maintenance.redis_copy import Copy

MAX_COPY_AGE = 1.0
"""Seconds for which a copy is used. All processes together query the database once in that time."""
FRESH_WITH_REDIS = 0.5
"""Seconds for which a state is fresh if Redis answers: short, because a copy is older already."""
FRESH_WITHOUT_REDIS = 1.5
"""Seconds for which a state is fresh without Redis, when it comes directly from the database."""
REFRESH_AT = (0.5, 0.9)
"""The next state is read after a random part of that time, between these two."""
REQUEST_WAIT = 0.5
"""Maximum seconds that a request waits for a reading."""
REDIS_TIMEOUT = 0.25
"""Seconds to wait for Redis; then the database is asked."""
DATABASE_TIMEOUT = 2.0
"""Seconds to wait for the database; no request waits that long."""
RETRY_AFTER = 0.5
"""Seconds until Redis and the database are asked again after both failed."""
REDIS_RETRY_AFTER = 5.0
"""Seconds for which Redis is not asked after it failed; the database is enough."""

_log = structlog.get_logger(__name__)
_NEVER = float("-inf")  # a monotonic time before all others


class _State(NamedTuple):
    """A state, and the monotonic time at which it was true."""

    window: Window | None
    at: float


class MaintenanceReader:
    """Reads whether a maintenance window is open; one instance for each process.

    It connects at the first call of `window`. The connection to Redis stays open; each reading of
    the database uses a new connection. If neither answers, the last known state is used. A process
    that has never read a state is not in maintenance.

    Args:
        config: Has DATABASE_URL, SECRET_KEY and REDIS_URL. Without REDIS_URL, the state is always
            read from the database. The name of its project is part of the copy's key.

    Raises:
        ConfigurationError: One of the URLs can't be used.
    """

    def __init__(self, config: Config) -> None:
        url = config.database()
        self._database = Database(url, run_id="reader", project=config.project)
        self._secret_key = config.secret_key
        self._copy: RedisCopy | None = None
        if config.redis_url:
            self._copy = RedisCopy(
                redis_url(config), key_of(config.project.name, url), limit=REDIS_TIMEOUT
            )
        self._state = _State(None, _NEVER)
        self._fresh_until = self._refresh_at = _NEVER
        self._failed_at = self._copy_failed_at = _NEVER
        self._failing = self._copy_failing = False
        self._reading: asyncio.Task[None] | None = None
        self._reading_since = _NEVER

    async def window(self) -> Window | None:
        """Return the open window, or None. It never raises, and waits at most `REQUEST_WAIT`."""
        try:
            return await self._current()
        except Exception as exc:  # noqa: BLE001 - an error here must not fail the request
            self._fail(exc, None, monotonic())
            return None

    async def _current(self) -> Window | None:
        """Return the window of the last known state; start a reading or wait for one if due."""
        now = monotonic()
        if now >= self._refresh_at and now >= self._failed_at + RETRY_AFTER:
            self._read()
        if now >= self._fresh_until:
            await self._wait(now)
        window = self._state.window
        return window if window is not None and window.is_open() else None

    def accepts(self, given: bytes, window: Window) -> bool:
        """Return whether a header's value is the pass through a window.

        Args:
            given: The value of the header, as the client sent it.
            window: The open window, which `window` returned.
        """
        return is_pass(self._secret_key, window.id, given)

    async def aclose(self) -> None:
        """Stop reading and close the connections. The next call of `window` opens them again."""
        reading, self._reading = self._reading, None
        if reading is not None and _is_under_way(reading):
            reading.cancel()
            await asyncio.wait({reading})
        if self._copy is not None:
            await self._copy.aclose()
        await self._database.dispose()

    def _read(self) -> None:
        """Start a reading, unless one is in progress."""
        if self._reading is None or not _is_under_way(self._reading):
            self._reading_since = monotonic()
            self._reading = asyncio.create_task(self._refresh())

    async def _wait(self, now: float) -> None:
        """Wait for the reading in progress, but not if the previous one has just failed.

        While both sources are down, requests must not all wait for a reading that fails again.
        """
        left = self._reading_since + REQUEST_WAIT - now
        failed_lately = now < self._failed_at + RETRY_AFTER + REQUEST_WAIT
        if self._reading is None or not _is_under_way(self._reading) or failed_lately or left <= 0:
            return
        # Unlike asyncio.wait_for, this does not cancel the reading at the timeout.
        await asyncio.wait({self._reading}, timeout=left)

    async def _refresh(self) -> None:
        """Read the state from a fresh copy. Else read it from the database and write the copy.

        Ages are counted from `began`, before the query was sent, so they are never too small.
        """
        began = monotonic()
        copy = await self._read_copy(began)
        if copy is not None and self._is_usable(copy, began):
            # The copy was written with the state of `copy.age` seconds ago.
            self._learn(_State(copy.window, began - copy.age), began + FRESH_WITH_REDIS)
            return
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT):
                window = await read_window(self._database)
        except Exception as exc:  # noqa: BLE001 - after any error the last known state is used
            self._fail(exc, copy, began)
            return
        # False also if `_read_copy` has just failed: then the copy is not written.
        shared = self._uses_copy(began)
        self._learn(
            _State(window, began), began + (FRESH_WITH_REDIS if shared else FRESH_WITHOUT_REDIS)
        )
        if shared:
            await self._write_copy(window, began)

    def _is_usable(self, copy: Copy, began: float) -> bool:
        """Return whether a copy is fresh, and not older than a known state that differs from it.

        Another process may have written an older state, to which this process must not return.
        """
        newer = began - copy.age >= self._state.at
        return copy.age <= MAX_COPY_AGE and (newer or copy.window == self._state.window)

    async def _read_copy(self, began: float) -> Copy | None:
        if self._copy is None or not self._uses_copy(began):
            return None
        try:
            copy = await self._copy.read()
        except Exception as exc:  # noqa: BLE001 - after any error the database is read
            self._pause_copy(exc)
            return None
        self._copy_failing = False
        return copy

    async def _write_copy(self, window: Window | None, began: float) -> None:
        age = monotonic() - began
        if self._copy is None or age >= MAX_COPY_AGE:  # no process would use such an old copy
            return
        try:
            await self._copy.write(window, age=age)
        except Exception as exc:  # noqa: BLE001 - the next process reads the database itself
            self._pause_copy(exc)

    def _uses_copy(self, now: float) -> bool:
        """Return whether Redis is set and did not fail in the last `REDIS_RETRY_AFTER` s."""
        return self._copy is not None and now >= self._copy_failed_at + REDIS_RETRY_AFTER

    def _pause_copy(self, exc: Exception) -> None:
        self._copy_failed_at = monotonic()
        if not self._copy_failing:
            self._copy_failing = True
            _log.warning("maintenance.copy_failed", error=_about(exc))

    def _learn(self, known: _State, fresh_until: float) -> None:
        before, self._state = self._state.window, known
        now = monotonic()
        self._fresh_until = fresh_until
        # The time is random. Otherwise processes that started together would always read together.
        self._refresh_at = now + (fresh_until - now) * uniform(*REFRESH_AT)  # noqa: S311 - no secret
        self._failed_at = _NEVER
        if self._failing:
            self._failing = False
            _log.warning("maintenance.reading_recovered")
        if (before and before.id) != (known.window and known.window.id):
            _log.info("maintenance.started" if known.window else "maintenance.ended")

    def _fail(self, exc: Exception, copy: Copy | None, began: float) -> None:
        self._failed_at = monotonic()
        # A copy that is too old to be usable may still be newer than this process's last state.
        if copy is not None and began - copy.age > self._state.at:
            self._state = _State(copy.window, began - copy.age)
        if not self._failing:
            self._failing = True
            _log.warning("maintenance.reading_failed", error=_about(exc))


def _is_under_way(task: asyncio.Task[None]) -> bool:
    """Return whether a task is running. After its event loop was closed, a task never ends."""
    return not task.done() and task.get_loop() is asyncio.get_running_loop()


def _about(exc: Exception) -> str:
    """Return the text to log for an error, without a driver's message: it may contain a URL."""
    return exc.message if isinstance(exc, CommandError) else type(exc).__name__
