"""The maintenance state that a web process uses, also while servers fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from time import monotonic

import pytest
import structlog

from oneoff.config.settings import load_config
from oneoff.services.maintenance import STALE_LIMIT, reader
from oneoff.services.maintenance.reader import (
    FRESH_WITH_REDIS,
    FRESH_WITHOUT_REDIS,
    MAX_COPY_AGE,
    MaintenanceReader,
)
from oneoff.services.maintenance.window import Window, encode
from tests.support.maintenance_fleet import (
    FASTER,
    PATIENCE,
    PROJECT,
    SLOWER,
    Clock,
    Fleet,
    ask,
    clock,
    fleet,
    multiply_times,
    seen,
    until,
)

__all__ = ["clock", "fleet"]

MARGIN = 0.05  # seconds
STEP = 0.1
"""Seconds between two requests to a process."""


async def noticed(
    processes: Sequence[MaintenanceReader], clock: Clock, expected: Window | None
) -> float:
    """Let time pass until all processes see this window; return the seconds."""
    began = clock.now
    while [await ask(one) for one in processes] != [expected] * len(processes):
        assert clock.now < began + 10 * STALE_LIMIT
        clock.advance(STEP)
    return clock.now - began


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_state_is_noticed_in_time(fleet: Fleet, clock: Clock, *, with_redis: bool) -> None:
    """Without an update of Redis, by processes that have just read the other state."""
    processes = [fleet.process(with_redis=with_redis) for _ in range(3)]
    assert [None] * 3 == [await ask(one) for one in processes]

    for change in (fleet.on, fleet.off):
        assert await noticed(processes, clock, await change()) < STALE_LIMIT


async def test_the_fleet_asks_the_database_once_a_second(fleet: Fleet, clock: Clock) -> None:
    """Ten busy processes share the state that one of them read."""
    processes = [fleet.process() for _ in range(10)]
    for process in processes:
        await ask(process)
    assert 1 == fleet.database_proxy.connections

    for _ in range(round(4 / STEP)):
        clock.advance(STEP)
        for process in processes:
            await ask(process)

    assert 1 + 3 <= fleet.database_proxy.connections <= 1 + 4


async def test_a_state_is_kept_for_a_short_time(fleet: Fleet, clock: Clock) -> None:
    """Not every request reads a source, and simultaneous requests share one reading."""
    process = fleet.process(with_redis=False)

    await asyncio.gather(*(process.window() for _ in range(100)))
    clock.advance(FRESH_WITHOUT_REDIS / 2 - MARGIN)
    await process.window()

    assert 1 == fleet.database_proxy.connections


async def asked(process: MaintenanceReader) -> asyncio.Task[Window | None]:
    """Send a request; it is done if it does not wait for a server."""
    request = asyncio.create_task(process.window())
    await asyncio.sleep(0)
    return request


async def test_a_busy_process_reads_before_its_state_is_too_old(fleet: Fleet, clock: Clock) -> None:
    """So no request waits: this one is answered although the database does not answer."""
    process = fleet.process(with_redis=False)
    await process.window()
    fleet.database_proxy.half_open()
    clock.advance(FRESH_WITHOUT_REDIS - MARGIN)

    request = await asked(process)

    assert request.done()
    assert None is request.result()
    await until(lambda: fleet.database_proxy.connections == 2)


async def test_an_old_state_is_not_used(fleet: Fleet, clock: Clock) -> None:
    """A process that was idle for an hour waits for the reading."""
    process = fleet.process()
    assert None is await process.window()
    window = await fleet.on()

    clock.advance(3600)

    assert window == await process.window()


async def test_a_copy_that_is_too_old_is_not_used(fleet: Fleet, clock: Clock) -> None:
    """The state is read from the database."""
    window = await fleet.on()
    fleet.copy(encode(None), age=MAX_COPY_AGE + MARGIN)

    assert window == await fleet.process().window()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"window": {"id": "x"}}'])
async def test_an_invalid_copy_is_replaced(fleet: Fleet, clock: Clock, text: bytes) -> None:
    """By the state in the database."""
    window = await fleet.on()
    fleet.copy(text)

    assert window == await ask(fleet.process())
    assert encode(window) == fleet.redis.get(fleet.key)


async def test_a_process_does_not_return_to_an_older_state(fleet: Fleet, clock: Clock) -> None:
    """A slow process may write a copy that is older than the known state."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await ask(process)
    clock.advance(FRESH_WITH_REDIS)
    fleet.copy(encode(None), age=FRESH_WITH_REDIS + MARGIN)

    assert window == await process.window()


class InAnHour(datetime):
    """The clock of the machine, an hour later."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> InAnHour:
        """Return a time that the test did not wait for."""
        later = datetime.now(tz) + timedelta(hours=1)
        return cls.combine(later.date(), later.timetz())


async def test_a_window_expires(
    fleet: Fleet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the reader's own clock, even if both servers are down."""
    process = fleet.process()
    window = await fleet.on(expires=timedelta(hours=1))
    assert window == await process.window()
    fleet.database_proxy.refuse()
    fleet.redis_proxy.refuse()

    monkeypatch.setattr("oneoff.services.maintenance.window.datetime", InAnHour)

    assert None is await process.window()


async def test_while_both_are_down_the_last_state_is_used(fleet: Fleet, clock: Clock) -> None:
    """For any time. A change is noticed when they are back."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await process.window()
    fleet.database_proxy.refuse()
    fleet.redis_proxy.refuse()

    for _ in range(20):
        clock.advance(60)
        assert window == await ask(process)

    await fleet.off()
    fleet.database_proxy.heal()
    clock.advance(60)
    await seen(process, None)


async def test_a_process_without_a_known_state_is_not_in_maintenance(
    fleet: Fleet, clock: Clock
) -> None:
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
    fleet.copy(encode(window), age=60)
    fleet.database_proxy.refuse()

    assert window == await fleet.process().window()


async def in_time(request: asyncio.Task[Window | None], limit: float) -> bool:
    """Return whether a request is done before a timer of `limit` seconds that starts now.

    On a busy machine both are late. So their order is compared, and not their times.
    """
    timer = asyncio.create_task(asyncio.sleep(limit))
    await asyncio.wait({request, timer}, return_when=asyncio.FIRST_COMPLETED)
    timer.cancel()
    for _ in range(10):  # if both have become due at once, the request has a few steps left
        await asyncio.sleep(0)
    return request.done()


@pytest.mark.parametrize("silent", ["redis", "database", "both"])
async def test_no_request_waits_long_for_a_silent_server(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """Half-open connections, as when a cable is pulled: the state is kept or read elsewhere."""
    multiply_times(monkeypatch, FASTER)
    process = fleet.process()
    window = await fleet.on()
    await seen(process, window)
    if silent in ("redis", "both"):
        fleet.redis_proxy.half_open()
    if silent in ("database", "both"):
        fleet.database_proxy.half_open()
    waits: list[object] = []
    until_then = monotonic() + 4 * FASTER

    async with asyncio.timeout(PATIENCE):
        while monotonic() < until_then or not (waits or silent == "redis"):
            request = await asked(process)
            if not request.done():
                waits.append(process._reading)
            assert await in_time(request, 2 * reader.REQUEST_WAIT)
            assert window == request.result()
            await asyncio.sleep(0.01)

    assert len(waits) == len(set(waits)), "a reading made several requests wait"


async def test_a_server_that_answers_again_is_read(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reading hangs that would keep the process from reading again."""
    multiply_times(monkeypatch, FASTER)
    process = fleet.process(with_redis=False)
    window = await fleet.on()
    await seen(process, window)
    fleet.database_proxy.half_open()
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(PATIENCE):
            while "maintenance.reading_failed" not in [line["event"] for line in lines]:
                assert window == await process.window()
                await asyncio.sleep(0.01)
    await fleet.off()

    fleet.database_proxy.heal()

    await seen(process, None)


async def test_an_outage_is_logged_once(fleet: Fleet, clock: Clock) -> None:
    """So is its end, and no line contains the password."""
    process = fleet.process()
    await ask(process)
    with structlog.testing.capture_logs() as lines:
        fleet.database_proxy.refuse()
        fleet.redis_proxy.refuse()
        await asked_until(process, clock, lambda: "reading_failed" in repr(lines))
        for _ in range(5):
            clock.advance(60)
            await ask(process)
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
    for _ in range(10):
        if condition():
            return
        clock.advance(60)
        await ask(process)
    pytest.fail("it did not happen in ten minutes")


async def test_a_closed_reader_can_be_used_again(fleet: Fleet, clock: Clock) -> None:
    """It connects again, and sees a change after the close."""
    process = fleet.process()
    window = await fleet.on()
    assert window == await ask(process)

    await process.aclose()
    await fleet.off()
    clock.advance(3600)

    assert None is await process.window()


async def test_a_database_without_the_table_has_no_window(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code is deployed before `migrate` ran, or a SQLite file does not exist yet."""
    multiply_times(monkeypatch, SLOWER)
    for url in (postgres_url, f"sqlite:///{tmp_path}/none.sqlite3"):
        process = MaintenanceReader(load_config(tmp_path, PROJECT, {"DATABASE_URL": url}))

        with structlog.testing.capture_logs() as lines:
            assert None is await process.window()

        await process.aclose()
        assert [] == lines
    assert [] == files(tmp_path)


def files(folder: Path) -> list[Path]:
    """Return the files in a folder."""
    return list(folder.iterdir())
