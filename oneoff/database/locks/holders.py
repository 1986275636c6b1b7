"""List the locks that are held and their holders, without taking a lock.

The server and the kernel identify a lock by a number, which is a digest of its name. To find the
name, the number is compared with those of all names that the known runs may take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from oneoff.database.roles import lock_role
from oneoff.database.tables import runs

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

ALWAYS = ("migrations", "schema")
"""Names of locks that a run may take although its command does not declare them."""
UNKNOWN = "unknown"  # shown for a lock whose name was not found

NameOf = Callable[[str], str]
"""Returns the name of a command's lock; empty if it has none."""

# One row for each connection of a run and each lock it holds. The application_name of a connection
# is "oneoff/<role>/<run id>". pg_locks shows a lock taken with one 64-bit number as objsubid 1,
# with the high half of the number in classid and the low half in objid.
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
        run_id: Id of the run that holds it; empty if it is unknown.
        since: When the lock was taken; on SQLite, when the run started.
        orphan: Whether the run is dead and its last statement is still running in the server.
        waiting: Ids of the runs that wait for the lock; None if they are unknown.
    """

    lock: str
    run_id: str
    since: datetime | None
    orphan: bool = False
    waiting: tuple[str, ...] | None = None


class _Connection(NamedTuple):
    """One connection of a run, and the number of a lock that it holds, if any."""

    pid: int
    role: str
    run_id: str
    active: bool
    since: datetime | None
    number: int | None


async def list_lock_holders(
    connection: AsyncConnection,
    database: Database,
    name_of: NameOf,
    known: Collection[str] = ALWAYS,
) -> list[dict[str, Any]]:
    """Return the locks that are held, oldest first, with facts from the records of their runs.

    The locks that mark runs as alive ("run:<id>") are not included.

    Args:
        connection: A connection to query, in the caller's transaction.
        database: The database of the connection.
        name_of: Returns the name of a command's lock.
        known: Names of other locks.
    """
    find = _on_postgresql if database.url.dialect == "postgresql" else _on_sqlite
    holders, about = await find(connection, database, name_of, known)
    return [_row(holder, about.get(holder.run_id)) for holder in holders]


async def _on_postgresql(
    connection: AsyncConnection, _database: Database, name_of: NameOf, known: Collection[str]
) -> tuple[list[LockHolder], dict[str, Any]]:
    from oneoff.database.locks.postgresql import number_of

    found = await connection.exec_driver_sql(_CONNECTIONS)
    connections = [_Connection._make(row) for row in found]
    alive = {number_of(f"run:{one.run_id}") for one in connections}
    held = [one for one in connections if one.number is not None and one.number not in alive]
    if not (held or any(one.active and one.role.startswith(lock_role("")) for one in connections)):
        return [], {}
    about = await _runs_by_id(connection, runs.c.id.in_({one.run_id for one in connections}))
    names = {run_id: name_of(row.command) for run_id, row in about.items()}
    numbers = {number_of(name): name for name in {*names.values(), *known} - {""}}
    roles = {lock_role(name): name for name in numbers.values()}
    holding_runs = {one.run_id for one in held}
    # A run with a connection for locks that holds none is waiting for a lock.
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
    # The lock of a killed client is free, but its statement may still be running.
    orphans = {
        one.run_id: LockHolder(roles[one.role], one.run_id, one.since, orphan=True)
        for one in connections
        if one.active and one.role in roles and one.run_id not in holding_runs
    }
    return [*holders, *orphans.values()], about


async def _on_sqlite(
    connection: AsyncConnection, database: Database, name_of: NameOf, known: Collection[str]
) -> tuple[list[LockHolder], dict[str, Any]]:
    from oneoff.database.locks.sqlite import lock_file, offset_of

    file = lock_file(database)
    about = await _runs_by_id(connection, runs.c.status == "started")
    newest = {row.pid: row for row in about.values()}  # if a process has several runs
    commands = [row.command for row in about.values()]
    names = {offset_of(name): name for name in {*map(name_of, commands), *known} - {""}}
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
    """Return the records of runs by id, oldest first."""
    rows = select(runs).where(condition).order_by(runs.c.started_at, runs.c.id)
    try:
        found = await connection.execute(rows)
    except DBAPIError:  # the holder may be the run that is creating the table
        return {}
    return {row.id: row for row in found}


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
