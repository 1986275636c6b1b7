"""List who holds which lock, without taking any.

The server and the kernel identify locks by numbers, which are digests of their names. To find a
name, the numbers of all names that the runs in question could have taken are compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from oneoff.database.tables import runs

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

ALWAYS = ("migrations", "schema")
"""Names that a run may take although its command declares none."""
UNKNOWN = "unknown"

NameOf = Callable[[str], str]
"""Command to the name of its lock; empty if it has none."""

# The connections of a run are named "oneoff/<what for>/<run id>".
_CONNECTIONS = """
SELECT activity.pid, split_part(application_name, '/', 2), split_part(application_name, '/', 3),
       coalesce(activity.state <> 'idle', false), activity.xact_start,
       (held.classid::bigint << 32) | held.objid::bigint
FROM pg_stat_activity AS activity
LEFT JOIN pg_locks AS held
    ON held.pid = activity.pid AND held.locktype = 'advisory' AND held.granted
   AND held.objsubid = 1 AND held.database = activity.datid
WHERE activity.datname = current_database() AND starts_with(application_name, 'oneoff/')
ORDER BY activity.xact_start, activity.pid
"""


class LockHolder(NamedTuple):
    """One lock that is held.

    Attributes:
        lock: Its name.
        run_id: Of the run that holds it; empty if that can't be told.
        since: When it was taken; on SQLite, when the run began.
        orphan: The run is dead, and its last statement is still at work in the server.
        waiting: Ids of the runs that wait for it; None where that can't be told.
    """

    lock: str
    run_id: str
    since: datetime | None
    orphan: bool = False
    waiting: tuple[str, ...] | None = None


class _Connection(NamedTuple):
    """One connection of a run, and the number of a lock it holds, if it holds one."""

    pid: int
    role: str
    run_id: str
    active: bool
    since: datetime | None
    number: int | None


async def list_lock_holders(
    connection: AsyncConnection, database: Database, name_of: NameOf
) -> list[dict[str, Any]]:
    """Return the locks that are held, the oldest first, with what is recorded of their runs.

    Each run also holds a lock that marks it as alive ("run:<id>"); those are left out.

    Args:
        connection: To ask, in the caller's transaction.
        database: Where it leads.
        name_of: Says which lock a command takes.
    """
    find = _on_postgresql if database.url.dialect == "postgresql" else _on_sqlite
    holders, about = await find(connection, database, name_of)
    return [_row(holder, about.get(holder.run_id)) for holder in holders]


async def _on_postgresql(
    connection: AsyncConnection, _database: Database, name_of: NameOf
) -> tuple[list[LockHolder], dict[str, Any]]:
    from oneoff.database.locks.postgresql import number_of

    found = await connection.exec_driver_sql(_CONNECTIONS)
    connections = [_Connection._make(row) for row in found]
    about = await _runs_by_id(connection, runs.c.id.in_({one.run_id for one in connections}))
    names = {run_id: name_of(row.command) for run_id, row in about.items()}
    numbers = {number_of(name): name for name in _names(names.values())}
    alive = {number_of(f"run:{one.run_id}") for one in connections}
    held = [one for one in connections if one.number is not None and one.number not in alive]
    holding_runs = {one.run_id for one in held}
    waiting = {one.run_id for one in connections if one.role == "lock"} - holding_runs
    holders = [
        LockHolder(
            lock := numbers.get(one.number or 0, UNKNOWN),
            one.run_id,
            one.since,
            waiting=tuple(sorted(run for run in waiting if names.get(run) == lock)),
        )
        for one in held
    ]
    # The lock of a client that was killed is free, but its statement is still running.
    orphans = {
        one.run_id: LockHolder(one.role, one.run_id, one.since, orphan=True)
        for one in connections
        if one.active and one.role in numbers.values() and one.run_id not in holding_runs
    }
    return [*holders, *orphans.values()], about


async def _on_sqlite(
    connection: AsyncConnection, database: Database, name_of: NameOf
) -> tuple[list[LockHolder], dict[str, Any]]:
    from oneoff.database.locks.sqlite import lock_file, offset_of

    file = lock_file(database)
    about = await _runs_by_id(connection, runs.c.status == "started")
    newest = {row.pid: row for row in about.values()}  # of several runs of one process
    names = {
        offset_of(name): name for name in _names(name_of(row.command) for row in about.values())
    }
    alive = {offset_of(f"run:{run_id}") for run_id in about}
    held = {offset_of(key): os.getpid() for key in file.held} | file.held_by_others()
    names |= {offset_of(key): key for key in file.held}
    holders = [
        LockHolder(
            names.get(offset, UNKNOWN),
            newest[pid].id if pid in newest else "",
            newest[pid].started_at if pid in newest else None,
        )
        for offset, pid in held.items()
        if offset not in alive
    ]
    return sorted(holders, key=lambda one: (str(one.since), one.lock)), about


async def _runs_by_id(connection: AsyncConnection, condition: Any) -> dict[str, Any]:
    """Return what is recorded of runs, the oldest first, by id."""
    rows = select(runs).where(condition).order_by(runs.c.started_at, runs.c.id)
    try:
        found = await connection.execute(rows)
    except DBAPIError:  # the holder may be the run that is creating the table now
        return {}
    return {row.id: row for row in found}


def _names(of_commands: Iterable[str]) -> set[str]:
    return {name for name in of_commands if name} | set(ALWAYS)


def _row(holder: LockHolder, about: Any) -> dict[str, Any]:
    return {
        "lock": holder.lock,
        "run_id": holder.run_id or None,
        "command": about.command if about else None,
        "operator": about.operator if about else None,
        "host": about.host if about else None,
        "since": holder.since,
        "orphan": holder.orphan,
        "waiting": None if holder.waiting is None else list(holder.waiting),
    }
