"""Close the records of runs whose processes have died."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, case, cast, func, select, update

from oneoff.core.outcome import Status
from oneoff.database.asyncpg_adapter import driver_of
from oneoff.database.locks.acquire import is_free
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.chain import add_event

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

# A run commits its row shortly before it takes its lock. Until then its lock is free although the
# run is alive.
LOCK_DELAY = timedelta(seconds=30)
"""Age of a record from which a free lock proves that a run on another machine is dead."""


async def close_abandoned(
    connection: AsyncConnection,
    database: Database,
    open_runs: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Close the rows of dead runs as `abandoned`, with the rows that their batches saved.

    Args:
        connection: A connection to the database of these runs.
        database: This database.
        open_runs: The rows that are not closed, from `read_facts`; by default they are read.
    """
    found: Iterable[Mapping[Any, Any]] | None = open_runs
    if found is None:
        query = select(runs).where(runs.c.status == Status.STARTED.value)
        found = (await connection.execute(query)).mappings().all()
    for row in found:
        if not _can_be_judged(row) or not await is_free(connection, database, f"run:{row['id']}"):
            continue
        on_postgresql = database.url.dialect == "postgresql"
        if on_postgresql and (await driver_of(connection)).is_in_transaction():
            # The event would keep all others out of the chain until the end of this transaction.
            async with database.autocommit("audit") as own:
                await _close(own, row["id"])
        else:
            await _close(connection, row["id"])


async def _close(connection: AsyncConnection, run_id: str) -> None:
    # The run may have closed its row since it was read, or its transaction, which has closed
    # the row, may still be open in the server: the row stays as it is then.
    still_open = (
        select(runs.c.id)
        .where(runs.c.id == run_id, runs.c.status == Status.STARTED.value)
        .with_for_update(skip_locked=True)
    )
    facts = {"status": Status.ABANDONED.value, "finished_at": datetime.now(UTC)}
    change = update(runs).where(runs.c.id.in_(still_open))
    await add_event(
        connection,
        "closed",
        {"run_id": run_id, **facts},
        change=change.values(**facts, rows=rows_saved(run_id)),
        computed="rows",
    )


def rows_saved(run_id: str) -> ColumnElement[Any]:
    """Return an expression for the rows that a run's batches saved; NULL without batches.

    When another run takes over a batch, the rows that this run saved of it are added to the `rows`
    of this run's record. They are included here.
    """
    query = select(func.sum(batches.c.run_rows)).where(batches.c.run_id == run_id)
    saved = cast(query.scalar_subquery(), BigInteger)  # PostgreSQL's sum of bigint is numeric
    total = func.coalesce(saved + func.coalesce(runs.c.rows, 0), runs.c.rows)
    # A closed row includes them; it may be closed again if the answer to the first time was lost.
    return case((runs.c.status == Status.STARTED.value, total), else_=runs.c.rows)


def _can_be_judged(row: Mapping[Any, Any]) -> bool:
    """Return whether a free lock proves that this run is dead, and did not just start."""
    if row["host"] == socket.gethostname():
        # On this machine the process itself can be checked, at any age of the record.
        return bool(process_started(row["pid"]) != row["process_started"])
    started = row["started_at"]
    if isinstance(started, str):
        started = datetime.fromisoformat(started)
    return bool(datetime.now(UTC) - started > LOCK_DELAY)


def process_started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if it does not exist.

    The system reuses process ids, but an id with the same start belongs to the same process.
    """
    try:
        # Field 22; the name in field 2 may hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:  # the process exists, but belongs to another user
        return "alive"
    return "alive"
