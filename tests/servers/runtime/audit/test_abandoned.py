"""The next run closes the open records of runs that are known to be dead."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from oneoff.database.tables import runs
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser, Sessions

HERE, THERE = socket.gethostname(), "another-machine"
NO_PROCESS = 2**22 + 1  # above the highest process id of Linux


async def insert_open_run(
    sessions: Sessions, *, host: str, pid: int, seconds: int, process_started: str = ""
) -> None:
    """Insert the record of a run that started and did not end."""
    row = {
        "id": "open-run",
        "command": "user list",
        "argv": "[]",
        "access": "write",
        "dry_run": False,
        "status": "started",
        "operator": "ada",
        "operator_source": "setting",
        "environment": "test",
        "host": host,
        "pid": pid,
        "process_started": process_started,
        "started_at": datetime.now(UTC) - timedelta(seconds=seconds),
    }
    async with sessions() as session:
        await session.execute(insert(runs).values(row))
        await session.commit()


async def status(sessions: Sessions) -> tuple[str, bool]:
    """Return the state of that run, and whether it has an end time."""
    query = select(runs.c.status, runs.c.finished_at).where(runs.c.id == "open-run")
    async with sessions() as session:
        state, finished = (await session.execute(query)).one()
    return state, finished is not None


@pytest.mark.parametrize(
    ("host", "pid", "seconds"),
    [
        pytest.param(HERE, NO_PROCESS, 0, id="its process does not exist"),
        pytest.param(HERE, os.getpid(), 0, id="another process has its id"),
        pytest.param(THERE, 1, 60, id="old, on another machine, and without its lock"),
    ],
)
async def test_the_record_of_a_dead_run_is_closed_as_abandoned(
    sessions: Sessions, make_user: MakeUser, host: str, pid: int, seconds: int
) -> None:
    """The next run of any command closes it."""
    await insert_open_run(
        sessions, host=host, pid=pid, seconds=seconds, process_started="of another"
    )

    await make_user("ada")

    assert ("abandoned", True) == await status(sessions)


async def test_a_run_that_just_started_on_another_machine_is_not_closed(
    sessions: Sessions, make_user: MakeUser
) -> None:
    """Between the commit of its row and its lock, a run has no lock."""
    await insert_open_run(sessions, host=THERE, pid=1, seconds=1)

    await make_user("ada")

    assert ("started", False) == await status(sessions)


async def test_a_failed_run_has_a_closed_record_and_a_usage_error_has_none(
    manage: Manage, sessions: Sessions
) -> None:
    """A wrong command line is refused before a run starts."""
    refused = await manage("user create ada ada@example.com --role king --generate-password")
    failed = await manage(["shell", "--write", "--confirm", "-c", "1 / 0"])

    async with sessions() as session:
        rows = (await session.execute(select(runs.c.command, runs.c.status))).all()

    assert (2, 1) == (refused.exit_code, failed.exit_code)
    assert [("shell", "failed")] == [tuple(row) for row in rows if row[0] != "db migrate"]
