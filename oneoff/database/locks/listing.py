"""Who holds which lock, for the operator who looks: asks, and takes nothing.

The server and the kernel know locks by numbers that are digests of their names. A name is found
by trying the few that the runs concerned could have taken.
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
"""Names that a run may take without its command saying so."""
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


class Holding(NamedTuple):
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


async def list_holdings(
    connection: AsyncConnection, database: Database, name_of: NameOf
) -> list[dict[str, Any]]:
    """Return the locks that are held, the oldest first, with what is recorded of their runs.

    That a run is alive is a lock too, of which nobody but the record's keeper knows; it is left
    out.

    Args:
        connection: To ask, in the caller's transaction.
        database: Where it leads.
        name_of: Says which lock a command takes.
    """
    find = _on_postgresql if database.url.dialect == "postgresql" else _on_sqlite
    holdings, about = await find(connection, database, name_of)
    return [_row(holding, about.get(holding.run_id)) for holding in holdings]


async def _on_postgresql(
    connection: AsyncConnection, _database: Database, name_of: NameOf
) -> tuple[list[Holding], dict[str, Any]]:
    from oneoff.database.locks.postgresql import number_of

    found = await connection.exec_driver_sql(_CONNECTIONS)
    connections = [_Connection._make(row) for row in found]
    about = await _about(connection, runs.c.id.in_({one.run_id for one in connections}))
    names = {run_id: name_of(row.command) for run_id, row in about.items()}
    numbers = {number_of(name): name for name in _names(names.values())}
    alive = {number_of(f"run:{one.run_id}") for one in connections}
    held = [one for one in connections if one.number is not None and one.number not in alive]
    holders = {one.run_id for one in held}
    waiting = {one.run_id for one in connections if one.role == "lock"} - holders
    holdings = [
        Holding(
            lock := numbers.get(one.number or 0, UNKNOWN),
            one.run_id,
            one.since,
            waiting=tuple(sorted(run for run in waiting if names.get(run) == lock)),
        )
        for one in held
    ]
    # Of a client that was killed the lock is free, but its statement goes on.
    orphans = {
        one.run_id: Holding(one.role, one.run_id, one.since, orphan=True)
        for one in connections
        if one.active and one.role in numbers.values() and one.run_id not in holders
    }
    return [*holdings, *orphans.values()], about


async def _on_sqlite(
    connection: AsyncConnection, database: Database, name_of: NameOf
) -> tuple[list[Holding], dict[str, Any]]:
    from oneoff.database.locks.sqlite import lock_file, offset_of

    file = lock_file(database)
    about = await _about(connection, runs.c.status == "started")
    newest = {row.pid: row for row in about.values()}  # of several runs of one process
    names = {
        offset_of(name): name for name in _names(name_of(row.command) for row in about.values())
    }
    alive = {offset_of(f"run:{run_id}") for run_id in about}
    held = {offset_of(key): os.getpid() for key in file.held} | file.held_by_others()
    names |= {offset_of(key): key for key in file.held}
    holdings = [
        Holding(
            names.get(offset, UNKNOWN),
            newest[pid].id if pid in newest else "",
            newest[pid].started_at if pid in newest else None,
        )
        for offset, pid in held.items()
        if offset not in alive
    ]
    return sorted(holdings, key=lambda one: (str(one.since), one.lock)), about


async def _about(connection: AsyncConnection, condition: Any) -> dict[str, Any]:
    """Return what is recorded of runs, the oldest first, by id."""
    rows = select(runs).where(condition).order_by(runs.c.started_at, runs.c.id)
    try:
        found = await connection.execute(rows)
    except DBAPIError:  # the run that holds the lock may be the one that makes the table
        return {}
    return {row.id: row for row in found}


def _names(of_commands: Iterable[str]) -> set[str]:
    return {name for name in of_commands if name} | set(ALWAYS)


def _row(holding: Holding, about: Any) -> dict[str, Any]:
    return {
        "lock": holding.lock,
        "run_id": holding.run_id or None,
        "command": about.command if about else None,
        "operator": about.operator if about else None,
        "host": about.host if about else None,
        "since": holding.since,
        "orphan": holding.orphan,
        "waiting": None if holding.waiting is None else list(holding.waiting),
    }
