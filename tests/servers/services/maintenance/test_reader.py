"""The maintenance state that a web process uses, also while servers fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest
import redis
import structlog

from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import parse_redis_url
from oneoff.config.settings import load_config
from oneoff.core.project import Project
from oneoff.database.engine import Database
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.maintenance import STALE_LIMIT, reader, store
from oneoff.services.maintenance.reader import MaintenanceReader
from oneoff.services.maintenance.redis_copy import KEY_LIFETIME, key_of
from oneoff.services.maintenance.store import Record
from oneoff.services.maintenance.window import Window, encode
from tests.support.servers import Postgres, Redis
from tests.support.servers.proxy import Proxy, proxying

PROJECT = Project("shop", commands=("commands",))
KEY = "k" * 32
MARGIN = 0.05  # seconds


class Clock:
    """A monotonic clock that only the test advances."""

    def __init__(self) -> None:
        self.now = monotonic()

    def __call__(self) -> float:
        return self.now


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
        self.readers: list[MaintenanceReader] = []

    def process(self, *, with_redis: bool = True) -> MaintenanceReader:
        """Start a process."""
        environ = {"DATABASE_URL": self.database_proxy.url(self.url), "SECRET_KEY": KEY}
        if with_redis:
            environ["REDIS_URL"] = self.redis_proxy.url(self.redis_url)
        made = MaintenanceReader(load_config(Path("/nonexistent"), environ), PROJECT)
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

    async def close(self) -> None:
        """Stop all processes."""
        for one in self.readers:
            await one.aclose()
        await self.database.dispose()


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
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the reader's clock."""
    clock = Clock()
    monkeypatch.setattr(reader, "monotonic", clock)
    return clock


async def until(condition: Callable[[], object], limit: float = 10) -> None:
    """Wait until a condition is true."""
    deadline = monotonic() + limit
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.01)


async def seen(process: MaintenanceReader, expected: str | None, limit: float = 10) -> float:
    """Ask until a process sees this window; return the seconds it took."""
    started = monotonic()
    while True:
        window = await process.window()
        if (window and window.id) == expected:
            return monotonic() - started
        assert monotonic() < started + limit
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_state_is_noticed_in_time(fleet: Fleet, *, with_redis: bool) -> None:
    """Without an update of Redis, by processes that have just read the other state."""
    processes = [fleet.process(with_redis=with_redis) for _ in range(3)]
    times = []
    for process in processes:
        await process.window()
    window = await fleet.on()
    times += await asyncio.gather(*(seen(one, window.id) for one in processes))
    await fleet.off()
    times += await asyncio.gather(*(seen(one, None) for one in processes))

    assert [] == [seconds for seconds in times if seconds >= STALE_LIMIT]


async def test_the_fleet_asks_the_database_once_a_second(fleet: Fleet) -> None:
    """Ten busy processes share the state that one of them read."""
    processes = [fleet.process() for _ in range(10)]
    await asyncio.gather(*(one.window() for one in processes))
    before, until_then = fleet.database_proxy.connections, monotonic() + 3

    while monotonic() < until_then:
        await asyncio.gather(*(one.window() for one in processes))
        await asyncio.sleep(0.01)

    # One a second, and more if several find the copy too old at once. Without it, 30 would ask.
    assert 2 <= fleet.database_proxy.connections - before <= 20


async def test_a_state_is_kept_for_a_short_time(fleet: Fleet, clock: Clock) -> None:
    """Not every request reads a source, and simultaneous requests share one reading."""
    process = fleet.process(with_redis=False)

    await asyncio.gather(*(process.window() for _ in range(100)))
    clock.now += reader.FRESH_WITHOUT_REDIS / 2 - MARGIN
    await process.window()

    assert 1 == fleet.database_proxy.connections


async def test_a_busy_process_reads_before_its_state_is_too_old(fleet: Fleet, clock: Clock) -> None:
    """So no request waits: this one is answered although the database does not answer."""
    process = fleet.process(with_redis=False)
    await process.window()
    fleet.database_proxy.half_open()
    clock.now += reader.FRESH_WITHOUT_REDIS - MARGIN
    started = monotonic()

    assert None is await process.window()

    assert monotonic() - started < reader.REQUEST_WAIT / 2


async def test_an_old_state_is_not_used(fleet: Fleet, clock: Clock) -> None:
    """A process that was idle for an hour waits for the reading."""
    process = fleet.process()
    assert None is await process.window()
    window = await fleet.on()
    clock.now += 3600

    with redis.Redis.from_url(fleet.redis_url) as client:
        client.flushall()

    assert window == await process.window()


async def test_a_copy_that_is_too_old_is_not_used(fleet: Fleet) -> None:
    """The state is read from the database."""
    window = await fleet.on()
    age = reader.MAX_COPY_AGE + MARGIN
    with redis.Redis.from_url(fleet.redis_url) as client:
        client.set(key(fleet), encode(None), px=round((KEY_LIFETIME - age) * 1000))

    assert window == await fleet.process().window()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"window": {"id": "x"}}'])
async def test_an_invalid_copy_is_replaced(fleet: Fleet, text: bytes) -> None:
    """By the state in the database."""
    window = await fleet.on()
    with redis.Redis.from_url(fleet.redis_url) as client:
        client.set(key(fleet), text, px=round(KEY_LIFETIME * 1000))
        process = fleet.process()

        assert window == await process.window()
        await until(lambda: client.get(key(fleet)) == encode(window))


async def test_a_process_does_not_return_to_an_older_state(fleet: Fleet, clock: Clock) -> None:
    """A slow process may write a copy that is older than the known state."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await process.window()
    with redis.Redis.from_url(fleet.redis_url) as client:
        await until(lambda: client.get(key(fleet)) == encode(window))
        clock.now += reader.FRESH_WITH_REDIS
        age = reader.FRESH_WITH_REDIS + MARGIN
        client.set(key(fleet), encode(None), px=round((KEY_LIFETIME - age) * 1000))

    assert window == await process.window()


async def test_a_window_expires(fleet: Fleet) -> None:
    """By the reader's own clock, even if both servers are down."""
    process = fleet.process()
    window = await fleet.on(expires=timedelta(seconds=0.4))

    assert window == await process.window()
    fleet.database_proxy.refuse()
    fleet.redis_proxy.refuse()

    assert await seen(process, None) < 1


async def test_while_both_are_down_the_last_state_is_used(fleet: Fleet, clock: Clock) -> None:
    """For any time. A change is noticed when they are back."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await process.window()
    fleet.database_proxy.refuse()
    fleet.redis_proxy.refuse()

    for _ in range(20):
        clock.now += 60
        assert window == await process.window()

    await fleet.off()
    fleet.database_proxy.heal()
    clock.now += 60
    await seen(process, None)


async def test_a_process_without_a_known_state_is_not_in_maintenance(fleet: Fleet) -> None:
    """A process that starts while both servers are down serves requests."""
    await fleet.on()
    fleet.database_proxy.refuse()
    fleet.redis_proxy.refuse()

    assert None is await fleet.process().window()


async def test_a_new_process_uses_an_old_copy_while_the_database_is_unavailable(
    fleet: Fleet, clock: Clock
) -> None:
    """During maintenance, databases may be unavailable and processes are started."""
    window = await fleet.on()
    assert window == await fleet.process().window()
    with redis.Redis.from_url(fleet.redis_url) as client:
        await until(lambda: client.exists(key(fleet)))
        client.pexpire(key(fleet), round((KEY_LIFETIME - 3600) * 1000))
    fleet.database_proxy.refuse()

    assert window == await fleet.process().window()


@pytest.mark.parametrize("silent", ["redis", "database", "both"])
async def test_no_request_waits_long_for_a_silent_server(fleet: Fleet, silent: str) -> None:
    """Half-open connections, as when a cable is pulled: the state is kept or read elsewhere."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await process.window()
    if silent in ("redis", "both"):
        fleet.redis_proxy.half_open()
    if silent in ("database", "both"):
        fleet.database_proxy.half_open()
    waits, until_then = [], monotonic() + 4

    while monotonic() < until_then:
        started = monotonic()
        assert window == await process.window()
        waits.append(monotonic() - started)
        await asyncio.sleep(0.01)

    assert max(waits) < 2 * reader.REQUEST_WAIT
    assert sum(wait > reader.REQUEST_WAIT / 4 for wait in waits) <= 3
    fleet.redis_proxy.heal()
    fleet.database_proxy.heal()


async def test_a_server_that_answers_again_is_read(fleet: Fleet) -> None:
    """No reading hangs that would keep the process from reading again."""
    process = fleet.process(with_redis=False)
    window = await fleet.on()
    assert window == await process.window()
    fleet.database_proxy.half_open()
    await seen_for(process, window, seconds=3)
    await fleet.off()

    fleet.database_proxy.heal()

    assert await seen(process, None) < STALE_LIMIT + reader.DATABASE_TIMEOUT


async def seen_for(process: MaintenanceReader, window: Window, *, seconds: float) -> None:
    """Check for some seconds that a process sees this window."""
    until_then = monotonic() + seconds
    while monotonic() < until_then:
        assert window == await process.window()
        await asyncio.sleep(0.01)


async def test_an_outage_is_logged_once(fleet: Fleet, clock: Clock) -> None:
    """So is its end, and no line contains the password."""
    process = fleet.process()
    await process.window()
    with structlog.testing.capture_logs() as lines:
        fleet.database_proxy.refuse()
        fleet.redis_proxy.refuse()
        await asked_until(process, clock, lambda: "reading_failed" in repr(lines))
        for _ in range(5):
            clock.now += 60
            await process.window()
        fleet.database_proxy.heal()
        fleet.redis_proxy.heal()
        await asked_until(process, clock, lambda: "recovered" in repr(lines))

    assert [
        "maintenance.copy_failed",
        "maintenance.reading_failed",
        "maintenance.reading_recovered",
    ] == [line["event"] for line in lines]
    assert "p@ss" not in repr(lines)


async def asked_until(
    process: MaintenanceReader, clock: Clock, condition: Callable[[], object]
) -> None:
    """Ask once a minute until a condition is true."""
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline
        clock.now += 60
        await process.window()


async def test_a_closed_reader_can_be_used_again(fleet: Fleet) -> None:
    """It connects again, and sees a change after the close."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await process.window()

    await process.aclose()
    await fleet.off()

    assert 0 < await seen(process, None)


async def test_a_database_without_the_table_has_no_window(
    postgres_url: str, tmp_path: Path
) -> None:
    """Code is deployed before `migrate` ran, or a SQLite file does not exist yet."""
    for url in (postgres_url, f"sqlite:///{tmp_path}/none.sqlite3"):
        process = MaintenanceReader(load_config(tmp_path, {"DATABASE_URL": url}), PROJECT)

        with structlog.testing.capture_logs() as lines:
            assert None is await process.window()

        await process.aclose()
        assert [] == lines
    assert [] == files(tmp_path)


def files(folder: Path) -> list[Path]:
    """Return the files in a folder."""
    return list(folder.iterdir())


def key(fleet: Fleet) -> str:
    """Return the key of the copy that the fleet's processes use."""
    url = parse_database_url(fleet.database_proxy.url(fleet.url), Path(), "shop")
    return key_of("shop", url)
