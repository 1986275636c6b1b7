"""Processes that read the maintenance state, and a clock that only the test advances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
import redis

from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import parse_redis_url
from oneoff.config.settings import load_config
from oneoff.core.project import Project
from oneoff.database.engine import Database
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.maintenance import reader, store
from oneoff.services.maintenance.reader import MaintenanceReader
from oneoff.services.maintenance.redis_copy import KEY_LIFETIME, key_of
from oneoff.services.maintenance.store import Record
from oneoff.services.maintenance.window import Window
from tests.support.servers import Postgres, Redis
from tests.support.servers.proxy import Proxy, proxying

PROJECT = Project("shop", commands=("commands",))
KEY = "k" * 32
PATIENCE = 60
"""Seconds to wait for an event before the test fails, even on a busy machine."""
SLOWER = 1_000
"""Factor for the times of the reader with `Clock`: the time that really passes has no effect."""
FASTER = 0.25
"""Factor for the times of the reader in tests that wait until they have passed."""
TIMES = (
    "MAX_COPY_AGE",
    "FRESH_WITH_REDIS",
    "FRESH_WITHOUT_REDIS",
    "REQUEST_WAIT",
    "REDIS_TIMEOUT",
    "DATABASE_TIMEOUT",
    "RETRY_AFTER",
    "REDIS_RETRY_AFTER",
)


def multiply_times(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Multiply all times of the reader."""
    for name in TIMES:
        monkeypatch.setattr(reader, name, factor * getattr(reader, name))


class Fleet:
    """An operator's database, and processes that read its state.

    Attributes:
        database_proxy: The proxy between the processes and PostgreSQL.
        redis_proxy: The proxy between the processes and Redis.
    """

    def __init__(self, url: str, redis_url: str, proxies: tuple[Proxy, Proxy]) -> None:
        self.url, self.redis_url = url, redis_url
        self.database_proxy, self.redis_proxy = proxies
        self.database = Database(parse_database_url(url, Path(), "shop"), run_id="operator")
        self.redis = redis.Redis.from_url(redis_url)
        self.readers: list[MaintenanceReader] = []

    @property
    def key(self) -> str:
        """The key of the copy that the processes use."""
        url = parse_database_url(self.database_proxy.url(self.url), Path(), "shop")
        return key_of("shop", url)

    def process(self, *, with_redis: bool = True) -> MaintenanceReader:
        """Start a process."""
        environ = {"DATABASE_URL": self.database_proxy.url(self.url), "SECRET_KEY": KEY}
        if with_redis:
            environ["REDIS_URL"] = self.redis_proxy.url(self.redis_url)
        made = MaintenanceReader(load_config(Path("/nonexistent"), PROJECT, environ))
        self.readers.append(made)
        return made

    async def on(self, *, expires: timedelta | None = None) -> Window:
        """Open a window as the command does if it can't reach Redis."""
        now = datetime.now(UTC)
        window = Window(uuid4().hex, now, now + expires if expires else None)
        async with self.database.connect("schema") as connection:
            await store.begin(connection, Record(window, "", "ada", "1"))
            await connection.commit()
        return window

    async def off(self) -> None:
        """End the window."""
        async with self.database.connect("schema") as connection:
            await store.end(connection, datetime.now(UTC))
            await connection.commit()

    def copy(self, text: bytes, *, age: float = 0.0) -> None:
        """Write a copy that is as old as if `Clock.advance` had been called with this age."""
        self.redis.set(self.key, text, px=round((KEY_LIFETIME - age * SLOWER) * 1000))

    async def close(self) -> None:
        """Stop all processes."""
        for one in self.readers:
            await one.aclose()
        self.redis.close()
        await self.database.dispose()


class Clock:
    """A monotonic clock that only the test advances, and the age of the copy with it.

    The reader's times are `SLOWER`, and so is this clock: a test calculates with the usual ones.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.now = monotonic()
        self._fleet = fleet

    def __call__(self) -> float:
        return self.now * SLOWER

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        left: Any = self._fleet.redis.pttl(self._fleet.key)
        if left > 0:
            self._fleet.redis.pexpire(self._fleet.key, left - round(seconds * SLOWER * 1000))


@pytest.fixture
async def fleet(
    postgres_server: Postgres, postgres_url: str, redis_server: Redis, redis_url: str
) -> AsyncIterator[Fleet]:
    """Yield a fleet whose connections can be broken."""
    redis_port = parse_redis_url(redis_url).port
    with proxying(postgres_server.port) as first, proxying(redis_port) as second:
        fleet = Fleet(postgres_url, redis_url, (first, second))
        await ensure_schema(fleet.database)
        yield fleet
        await fleet.close()


@pytest.fixture
def clock(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the reader's clock, and let no reading time out."""
    multiply_times(monkeypatch, SLOWER)
    clock = Clock(fleet)
    monkeypatch.setattr(reader, "monotonic", clock)
    return clock


async def ask(process: MaintenanceReader) -> Window | None:
    """Return the window that a process sees, after the reading that it may have started."""
    window = await process.window()
    if process._reading is not None:
        await asyncio.wait({process._reading})
    return window


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the state of another thread or server
            await asyncio.sleep(0.01)


async def seen(process: MaintenanceReader, expected: Window | None) -> None:
    """Ask until a process sees this window."""
    async with asyncio.timeout(PATIENCE):
        while await process.window() != expected:  # noqa: ASYNC110 - the state of a server
            await asyncio.sleep(0.01)
