"""Helpers for the tests of `data export` and `data import`."""

from __future__ import annotations

import asyncio
import os
import sys

from sqlalchemy import text

from oneoff.testing import Finished, Manage
from tests.support.fixture_types import Sessions

PROGRAM = (sys.executable, "manage.py", "data")


async def make_many(sessions: Sessions) -> int:
    """Create a table `many` with 50,000 rows, for which there is no model."""
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "SELECT i, 'row ' || i || ', of many' FROM n"
    )
    async with sessions() as session:
        await session.execute(text("CREATE TABLE many (id int PRIMARY KEY, what varchar(30))"))
        await session.execute(text(f"INSERT INTO many {numbers}"))
        await session.commit()
    return 50_000


async def started(
    manage: Manage, *words: str, verb: str = "export", stdin: int | None = None
) -> asyncio.subprocess.Process:
    """Start the command as a separate process."""
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        verb,
        *words,
        cwd=manage.root,
        env={**os.environ, **manage.environ},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def rows_of(done: Finished) -> list[str]:
    """Return the lines of standard output below the header."""
    assert 0 == done.exit_code, done.stderr
    return done.stdout.splitlines()[1:]
