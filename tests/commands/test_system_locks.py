"""`system locks`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.database.locks.sqlite import LockFile
from oneoff.database.roles import lock_role
from oneoff.database.tables import runs
from oneoff.testing import Manage
from tests.servers.database.locks.test_locks import ROOT
from tests.support.fixture_types import Sessions

HOLD = """
import asyncio, sys
from pathlib import Path
from oneoff.database.locks.acquire import make_lock
from oneoff.database.engine import Database
from oneoff.config.database_url import parse_database_url

async def main(url, run_id, *keys):
    database = Database(parse_database_url(url, Path(), "shop"), run_id=run_id)
    locks = [make_lock(database, key) for key in keys]
    for lock in locks:
        assert await lock.try_acquire()
    print("held", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""
BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def holding(
    manage: Manage, sessions: Sessions, command: str, *keys: str
) -> AsyncIterator[None]:
    """Hold locks in another process, which is recorded as run `theirs` of a command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, manage.environ["DATABASE_URL"], "theirs", *keys),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"held\n" == await process.stdout.readline()
    async with sessions() as session:
        await session.execute(insert(runs).values(run_row("theirs", command, process.pid)))
        await session.commit()
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def run_row(run_id: str, command: str, pid: int) -> dict[str, Any]:
    """Return the row of a run that is active on another machine."""
    return {
        "id": run_id,
        "command": command,
        "argv": "[]",
        "access": "write",
        "dry_run": False,
        "status": "started",
        "operator": "ada",
        "operator_source": "setting",
        "environment": "test",
        "host": "web-1",
        "pid": pid,
        "started_at": datetime.now(UTC),
    }


async def locks(manage: Manage) -> list[dict[str, Any]]:
    """Return the rows that the command lists."""
    finished = await manage("system locks --json")
    assert 0 == finished.exit_code, finished.stderr
    found: list[dict[str, Any]] = finished.json["data"]
    return found


async def test_without_a_held_lock_the_list_is_empty(manage: Manage) -> None:
    """The lock that marks this run as alive is not listed."""
    finished = await manage("system locks")

    assert (0, "no run holds a lock\n") == (finished.exit_code, finished.stdout)


async def test_the_holder_is_named(manage: Manage, sessions: Sessions) -> None:
    """By its recorded run. The lock has the name that the command declares."""
    async with holding(manage, sessions, "system maintenance on", "maintenance"):
        (found,) = await locks(manage)

    assert {
        "lock": "maintenance",
        "run_id": "theirs",
        "command": "system maintenance on",
        "operator": "ada",
        "host": "web-1",
        "since": found["since"],
        "orphan": False,
        "waiting": None if manage.environ["DATABASE_URL"].startswith("sqlite") else [],
    } == found
    assert abs(datetime.fromisoformat(found["since"]) - datetime.now(UTC)).total_seconds() < 60


async def test_all_locks_of_a_run_are_listed(manage: Manage, sessions: Sessions) -> None:
    """Locks that every command may take, and one whose name is unknown here."""
    names = ("migrations", "schema", "of a command that is not deployed here")
    async with holding(manage, sessions, "gone away", *names):
        found = await locks(manage)

    assert ["migrations", "schema", "unknown"] == sorted(one["lock"] for one in found)
    assert {"theirs"} == {one["run_id"] for one in found}


async def test_waiting_runs_are_named(manage: Manage, sessions: Sessions) -> None:
    """As long as they wait."""
    if manage.environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("a waiter of a file lock leaves no trace")
    async with holding(manage, sessions, "system maintenance on", "maintenance"):
        waiter = asyncio.create_task(manage("system maintenance on --confirm --lock-wait=60s"))
        while not (waiting := (await locks(manage))[0]["waiting"]):
            assert not waiter.done(), waiter.result().stderr
    finished = await waiter

    assert 0 == finished.exit_code, finished.stderr
    assert finished.outcome
    assert [finished.outcome.run_id] == waiting


async def test_an_orphan_is_distinguished_from_a_holder(manage: Manage) -> None:
    """The client was killed and its lock is free, but the server still executes its statement."""
    if manage.environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("there is no server")
    url = parse_database_url(manage.environ["DATABASE_URL"], Path(), "shop")
    dead = Database(url, run_id="dead")
    async with dead.connect(lock_role("migrations")) as connection:
        statement = asyncio.create_task(connection.execute(text("SELECT pg_sleep(600)")))
        while not (found := await locks(manage)):
            assert not statement.done()
        statement.cancel()
        await asyncio.wait({statement})
    await dead.dispose()

    assert [("migrations", "dead", True)] == [
        (one["lock"], one["run_id"], one["orphan"]) for one in found
    ]


def test_every_byte_that_others_locked_is_found(tmp_path: Path) -> None:
    """In any order in which the kernel reports them."""
    file = LockFile(tmp_path / "locks")
    taken = [5, 0, 700, 6, 2**61, 300]

    file._ask = lambda start, length: next(  # type: ignore[method-assign]
        ((at, 42) for at in taken if at >= start and (not length or at < start + length)), (0, 0)
    )
    file.path.touch()

    assert dict.fromkeys(taken, 42) == file.held_by_others()
