"""What probes ask: is the process alive, may it get requests, has it started.

The answers name services and states, never hosts: anybody may ask. The log has the details.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.services.health import Check, Health, Service, check_services

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project

MAX_AGE = 1.0
"""Seconds for which an answer serves all probes: any number of them ask the services once."""
TIMEOUT = 2.0
"""Seconds each service has to answer."""
DECISIVE = frozenset({Service.DATABASE.value, Service.MIGRATIONS.value})
"""Without these no request can be served; without Redis most can."""

router = APIRouter(prefix="/health", include_in_schema=False)
_log = structlog.get_logger(__name__)


class Probe:
    """Knows how the services are, at most `MAX_AGE` ago.

    Args:
        ask: Asks them all.
        clock: Counts seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[list[Check]]], clock: Callable[[], float] = monotonic
    ) -> None:
        self._ask, self._clock = ask, clock
        self._asking = asyncio.Lock()
        self._checks: list[Check] = []
        self._asked_at = float("-inf")
        self._has_started = False

    async def checks(self) -> list[Check]:
        """Return how each service is; one caller asks, and those who come meanwhile wait."""
        async with self._asking:
            if self._clock() - self._asked_at >= MAX_AGE:
                self._note(await self._ask())
                self._asked_at = self._clock()
            return self._checks

    async def has_started(self) -> bool:
        """Return whether all that is decisive has been well once."""
        if not self._has_started:
            await self.checks()
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
    """Return whether requests can be served."""
    return all(check.health is Health.UP for check in checks if check.service in DECISIVE)


@asynccontextmanager
async def open_probe(config: Config, project: Project) -> AsyncIterator[Probe]:
    """Make the probe of a process; it has a connection of its own.

    A pool whose connections are all busy is no reason to take the process out of service.
    """
    url = parse_database_url(config.database_url, config.root, project.name)
    database = Database(url, run_id="web-health", pool_size=1)
    services = [Service.DATABASE, Service.MIGRATIONS]
    services += [Service.REDIS] if config.redis_url else []

    async def ask() -> list[Check]:
        return await check_services(
            config, project, "web-health", only=services, timeout=TIMEOUT, database=database
        )

    try:
        yield Probe(ask)
    finally:
        await database.dispose()


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer while the event loop runs, whatever the services do: a restart cures none of them."""
    return {"status": "up"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Answer 200 when requests can be served, else 503, with the state of each service."""
    probe: Probe = request.state.probe
    checks = await probe.checks()
    states = [{"service": check.service, "status": check.health.value} for check in checks]
    return _answer(states, good=is_ready(checks))


@router.get("/startup")
async def startup(request: Request) -> JSONResponse:
    """Answer 503 until the database was at head for the first time, 200 ever after."""
    probe: Probe = request.state.probe
    return _answer(None, good=await probe.has_started())


def _answer(checks: list[dict[str, str]] | None, *, good: bool) -> JSONResponse:
    body = {"status": "up" if good else "down"} | ({} if checks is None else {"checks": checks})
    # A proxy that kept an answer would lie for a while.
    return JSONResponse(body, 200 if good else 503, headers={"Cache-Control": "no-store"})
