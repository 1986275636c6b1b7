"""Find the backups of a database in its record of runs.

A copy of a database also has the record of its original. So a run counts only if it started after
the environment of this database was stored: `migrate` stores it in a copy, and a restore of the
database itself keeps the time.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from oneoff.core.outcome import Status
from oneoff.database.schema.facts import read_facts
from oneoff.database.tables import environments, runs
from oneoff.services.backups.manifest import hash_file
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sqlalchemy import ColumnElement, RowMapping

    from oneoff.database.engine import Database

    FindRecent = Callable[[timedelta], Awaitable["Found"]]

COMMAND = "db backup"
_MOST = 20  # backups to check
# See `Backup.summary`.
_SUMMARY = re.compile(
    r" to (?P<path>/.*) \((?P<size>[\d,]+) bytes, sha256 (?P<hash>[0-9a-f]{64})\)"
)


class Found(NamedTuple):
    """The newest backup that counts, or why none does.

    Attributes:
        run_id: The run that made it; empty if there is none.
        note: What could not be checked, or why newer backups do not count; may be empty.
    """

    run_id: str
    note: str


async def find_recent(database: Database, age: timedelta) -> Found:
    """Return the newest backup of this database that is not older than `age`.

    A backup on this machine counts if its file still has its content. One on another machine can't
    be checked, and counts.
    """
    since = datetime.now(UTC) - age
    reasons = []
    for row in await _made_here(database, runs.c.started_at >= since):
        problem = await _problem_of(row)
        if not problem:
            return Found(row["id"], _note(row))
        reasons.append(problem)
    return Found("", "; ".join(reasons))


@asynccontextmanager
async def open_backups(database: Database) -> AsyncIterator[FindRecent]:
    """Open the resource `backups`: `find_recent` for the database of the run."""
    yield partial(find_recent, database)


async def was_made_here(database: Database, run_id: str) -> bool:
    """Return whether the backup that this run made is one of this database, not of its original."""
    return bool(await _made_here(database, runs.c.id == run_id))


async def _made_here(database: Database, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
    async with database.connect("backup") as connection:
        facts = await read_facts(connection, database.url)
        if not facts.schema_ready or facts.is_copy:
            return ()
        stored_at = await connection.scalar(select(environments.c.stored_at))
        query = (
            select(runs)
            .where(
                condition,
                runs.c.command == COMMAND,
                runs.c.status == Status.SUCCEEDED.value,
                runs.c.started_at >= (stored_at or datetime.min.replace(tzinfo=UTC)),
            )
            .order_by(runs.c.started_at.desc())
            .limit(_MOST)
        )
        return (await connection.execute(query)).mappings().all()


def read_summary(message: str) -> tuple[str, int, str] | None:
    """Return path, size and sha256 of the backup that a run's message names."""
    found = _SUMMARY.search(message)
    if found is None:
        return None
    return found["path"], int(found["size"].replace(",", "")), found["hash"]


async def _problem_of(row: RowMapping) -> str:
    """Return why a backup does not count; empty if it does."""
    found = read_summary(row["message"])
    if found is None:
        return f"the record of run {row['id']} does not say where its backup is"
    if row["host"] != socket.gethostname():
        return ""
    path, size, content = found
    try:
        same = os.stat(path).st_size == size and (
            await in_daemon_thread(lambda: hash_file(path)) == content
        )
    except OSError as exc:
        return f"{path} can't be read: {exc.strerror}"
    return "" if same else f"{path} was changed since it was made"


def _note(row: RowMapping) -> str:
    if row["host"] == socket.gethostname():
        return ""
    return f"the backup of run {row['id']} is on {row['host']}, so it was not checked"
