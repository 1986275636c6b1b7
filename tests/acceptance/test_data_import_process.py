"""`data import` as a process: it reads standard input from a pipe, and signals stop it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import termios
from pathlib import Path

import asyncpg
import pytest

from oneoff.testing import Manage
from tests.support.exports import started
from tests.support.imports import account, bytes_of, names, write_csv

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY%'"
)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Write a file of two accounts."""
    return write_csv(tmp_path / "two.csv", account(1, "ci"), account(2, "backup"))


async def test_a_pipe_is_read_to_its_end(manage: Manage, two: Path) -> None:
    """As in `data export ... | data import ...`."""
    words = ("service_accounts", "-", "--format", "csv", "--confirm")
    process = await started(manage, *words, verb="import", stdin=asyncio.subprocess.PIPE)

    _, said = await process.communicate(bytes_of(two))

    assert 0 == process.returncode, said
    assert ["ci", "backup"] == names(manage)


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_signal_stops_a_running_import(manage: Manage, two: Path) -> None:
    """Exit code 143. Nothing is imported, and the server's statement is cancelled."""
    url = manage.environ["DATABASE_URL"]
    locking, looking = await asyncpg.connect(url), await asyncpg.connect(url)
    async with locking.transaction():
        await locking.execute("LOCK TABLE service_accounts")
        process = await started(manage, "service_accounts", str(two), "--confirm", verb="import")
        while not await looking.fetchval(WAITING):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        waiting = await looking.fetchval(WAITING)
    await locking.close()
    await looking.close()

    assert (143, 0) == (process.returncode, waiting), said
    assert b"its work was rolled back" in said
    assert [] == names(manage)


@pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)
async def test_a_signal_stops_an_import_that_waits_for_a_pipe(
    manage: Manage, tmp_path: Path
) -> None:
    """Exit code 143, although a thread is blocked in a read that can't be cancelled."""
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    process = await started(manage, "service_accounts", str(pipe), "--confirm", verb="import")
    os.write(writer, b"id,name\n")
    while any(fcntl.ioctl(writer, termios.FIONREAD, b"\0" * 4)):  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.02)

    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(60):
            await process.communicate()
    finally:
        os.close(writer)  # ends a process that would otherwise wait indefinitely

    assert 143 == process.returncode
