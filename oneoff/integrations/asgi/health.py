"""Health checks for a web process. The application decides which URL returns them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from oneoff.database.engine import Database
from oneoff.services.health import Check, Health, Service, check_services

if TYPE_CHECKING:
    from oneoff.config.settings import Config

MAX_AGE = 1.0
"""Seconds for which callers share one answer, so that many probes ask the services only once."""
TIMEOUT = 2.0
"""Seconds that a service has to answer."""
DECISIVE = frozenset({Service.DATABASE.value, Service.MIGRATIONS.value})
"""Services without which no request can be served. Most requests do not need Redis."""

_log = structlog.get_logger("oneoff.health")


class HealthChecks:
    """The state of the services, at most `MAX_AGE` seconds old.

    Args:
        ask: Asks all services.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[list[Check]]], clock: Callable[[], float] = monotonic
    ) -> None:
        self._ask, self._clock = ask, clock
        self._asking = asyncio.Lock()
        self._checks: list[Check] = []
        self._asked_at = float("-inf")
        self._has_started = False

    async def current(self) -> list[Check]:
        """Return the state of each service. One caller asks; the others wait for its answer."""
        async with self._asking:
            if self._clock() - self._asked_at >= MAX_AGE:
                self._note(await self._ask())
                self._asked_at = self._clock()
            return self._checks

    async def has_started(self) -> bool:
        """Return whether all decisive services have been up at the same time at least once."""
        if not self._has_started:
            await self.current()
        return self._has_started

    def _note(self, checks: list[Check]) -> None:
        before = {check.service: check.health for check in self._checks}
        for check in checks:
            if check.health is not before.get(check.service, Health.UP):
                good = check.health is Health.UP
                write = _log.info if good else _log.warning
                health, detail = check.health.value, check.detail
                write("health.changed", checked=check.service, health=health, detail=detail)
        self._checks = checks
        self._has_started = self._has_started or is_ready(checks)


def is_ready(checks: list[Check]) -> bool:
    """Return whether requests can be served: whether all decisive services are up.

    Args:
        checks: The states that `HealthChecks.current` returns.
    """
    return all(check.health is Health.UP for check in checks if check.service in DECISIVE)


@asynccontextmanager
async def open_health_checks(config: Config) -> AsyncIterator[HealthChecks]:
    """Create the health checks of a process, with a separate database connection.

    They are closed at the end of the block: open them for the lifetime of the process. Nothing is
    asked before the first call of `HealthChecks.current`.

    Args:
        config: Settings with the URLs of the services. The revisions of its project are compared
            with those that the database has applied.

    Raises:
        ConfigurationError: A URL can't be used.
    """
    # A pool whose connections are all busy must not make the process look unavailable.
    url = config.database()
    database = Database(url, run_id="web-health", pool_size=1, project=config.project)
    services = [Service.DATABASE, Service.MIGRATIONS]
    services += [Service.REDIS] if config.redis_url else []

    async def ask() -> list[Check]:
        return await check_services(
            config, "web-health", only=services, timeout=TIMEOUT, database=database
        )

    try:
        yield HealthChecks(ask)
    finally:
        await database.dispose()
