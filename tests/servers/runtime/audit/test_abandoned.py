"""Which open rows of the record the next run closes: those of runs that are known to be dead."""

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
NO_PROCESS = 2**22 + 1  # above the highest that Linux gives


async def begun(
    sessions: Sessions, *, host: str, pid: int, seconds: int, process_started: str = ""
) -> None:
    """Record the start of a run, and nothing of its end."""
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
    """Return the state of that run, and whether it has an end."""
    query = select(runs.c.status, runs.c.finished_at).where(runs.c.id == "open-run")
    async with sessions() as session:
        state, finished = (await session.execute(query)).one()
    return state, finished is not None


@pytest.mark.parametrize(
    ("host", "pid", "seconds"),
    [
        pytest.param(HERE, NO_PROCESS, 0, id="its process is gone"),
        pytest.param(HERE, os.getpid(), 0, id="another process has its number"),
        pytest.param(THERE, 1, 60, id="far away, old, and without its lock"),
    ],
)
async def test_a_dead_run_is_abandoned(
    sessions: Sessions, make_user: MakeUser, host: str, pid: int, seconds: int
) -> None:
    """The next run of any command closes its row."""
    await begun(sessions, host=host, pid=pid, seconds=seconds, process_started="of another")

    await make_user("ada")

    assert ("abandoned", True) == await status(sessions)


async def test_a_run_that_began_far_away_just_now_is_left_alone(
    sessions: Sessions, make_user: MakeUser
) -> None:
    """Between the commit of its row and its lock there is a moment without a lock."""
    await begun(sessions, host=THERE, pid=1, seconds=1)

    await make_user("ada")

    assert ("started", False) == await status(sessions)


async def test_a_refused_run_is_closed_with_its_reason(manage: Manage, sessions: Sessions) -> None:
    """It leaves a row like any other, and its work is not in the database."""
    refused = await manage("user create ada ada@example.com --role king --generate-password")
    failed = await manage("user promote nobody admin --confirm")

    async with sessions() as session:
        rows = (await session.execute(select(runs.c.command, runs.c.status))).all()

    assert (2, 1) == (refused.exit_code, failed.exit_code)
    assert [("user promote", "failed")] == [tuple(row) for row in rows if row[0] != "db migrate"]
