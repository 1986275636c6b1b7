"""Claim a batch: find the one to go on with or begin one, unless a living run works at it.

A claim raises the fence of the checkpoint, so that whoever had the batch before saves nothing more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from oneoff.core.errors import TemporaryError, UsageError
from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.record import process_started, reconcile
from oneoff.services.batch.state.checkpoints import (
    IDLE,
    UNREPORTED,
    Checkpoint,
    State,
    cancel_unfinished,
)

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.batch.transactions import Transactions

T = TypeVar("T")

_CLAIMS = 10
_CLAIM_PAUSE = 0.2


class BatchRunning(TemporaryError):
    """Another run works at the same batch now.

    Args:
        command: Whose batch it is.
        run_id: The other run.
        whose: Its operator, and where: "ada on shop-1".
        paused: It waits until it is told to go on.
    """

    code = "batch-running"

    def __init__(self, command: str, run_id: str, whose: str, *, paused: bool = False) -> None:
        does = "is paused" if paused else "runs already"
        super().__init__(
            f"{command} {does} with these arguments: run {run_id}, by {whose}",
            why="two runs of one batch would only take it from each other",
            try_=f"python manage.py batch {'resume' if paused else 'show'} {run_id}",
        )
        self.run_id = run_id


async def claim_with_retry(
    transactions: Transactions,
    attempt: Callable[[AsyncConnection], Awaitable[T]],
) -> T:
    """Claim a batch; a run that was just killed is given a moment to let go of its lock.

    Args:
        transactions: Where the claim is committed.
        attempt: Claims it in the transaction that it is given.

    Raises:
        BatchRunning: Another run works at it, and is alive.
    """
    for _ in range(_CLAIMS - 1):
        try:
            async with transactions.begin() as connection:
                return await attempt(connection)
        except IntegrityError:
            pass  # another run has begun the same batch in this very moment
        except BatchRunning as exc:
            async with transactions.begin() as connection:
                if not await _is_gone(connection, exc.run_id):
                    raise
        await asyncio.sleep(_CLAIM_PAUSE)
    async with transactions.begin() as connection:
        return await attempt(connection)


async def claim(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    *,
    new_run: bool = False,
    shards: int = 0,
    beside_workers: bool = False,
) -> Checkpoint:
    """Make the batch this run's own: the unfinished one with this identity, or a new one.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is the one that claims.
        identity: Which batch.
        new_run: Give an unfinished one up, and begin again.
        shards: Into how many it is cut; 0 for not at all.
        beside_workers: Others may work at its shards.

    Raises:
        BatchRunning: Another run works at it.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await reconcile(connection, database)
    row = await find_current(connection, identity, lock=True)
    if row is None:
        return await begin(connection, identity, database.run_id, shards=shards)
    if not (identity.once and row["finished_at"]):
        await refuse_while_running(connection, row, database.run_id)
    if row["shards"] and (new_run or not beside_workers):
        await refuse_while_shards_run(connection, row, database.run_id)
    if new_run:
        if row["finished_at"] is None:
            await cancel_unfinished(connection, row["id"], f"begun again by run {database.run_id}")
        return await begin(connection, identity, database.run_id, shards=shards)
    check_shards(row, shards)
    return await take(connection, row, database.run_id)


async def find_current(
    connection: AsyncConnection, identity: Identity, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of the batch that a run with this identity goes on with.

    It is the unfinished one, or one that is finished though nobody was told: its run was killed
    after the last commit, or has not ended yet. To begin again there would do every row twice. One
    that has a name of its own (`--once`) is not begun again at all.
    """
    mine = batches.c.key == identity.key
    unfinished = select(batches).where(mine, batches.c.finished_at.is_(None))
    found = await connection.execute(unfinished.with_for_update() if lock else unfinished)
    row = found.mappings().one_or_none()
    if row is not None:
        return row
    newest = select(batches, runs.c.status.label("run_status")).outerjoin(
        runs, runs.c.id == batches.c.run_id
    )
    newest = newest.where(mine).order_by(batches.c.finished_at.desc()).limit(1)
    last = (await connection.execute(newest)).mappings().one_or_none()
    if last is None or State(last["status"]) is not State.FINISHED:
        return None
    return last if last["run_status"] in UNREPORTED or identity.once else None


async def refuse_while_running(connection: AsyncConnection, row: RowMapping, run_id: str) -> None:
    """Refuse a batch at which a living run works; `reconcile` has closed the dead ones.

    Raises:
        BatchRunning: One does.
    """
    if State(row["status"]) in IDLE or row["run_id"] == run_id:
        return
    about = select(runs.c.status, runs.c.operator, runs.c.host).where(runs.c.id == row["run_id"])
    holder = (await connection.execute(about)).one_or_none()
    if holder is None or holder.status != Status.STARTED.value:
        return
    raise BatchRunning(
        row["command"],
        row["run_id"],
        f"{holder.operator} on {holder.host}",
        paused=State(row["status"]) is State.PAUSED,
    )


async def refuse_while_shards_run(
    connection: AsyncConnection, whole: RowMapping, run_id: str
) -> None:
    """Refuse a whole while living runs work at its shards."""
    of_whole = select(batches).where(batches.c.parent == whole["id"])
    found = await connection.execute(of_whole.where(batches.c.finished_at.is_(None)))
    for row in found.mappings().all():
        await refuse_while_running(connection, row, run_id)


def check_shards(row: RowMapping, shards: int) -> None:
    """Refuse to go on with a batch that was cut otherwise.

    Raises:
        UsageError: `batch-shards`.
    """
    if row["shards"] == shards:
        return
    begun = f"with --shards {row['shards']}" if row["shards"] else "without --shards"
    raise UsageError(
        f"the unfinished batch {row['id']} was begun {begun}: that is how it goes on",
        try_=(f"the same command {begun} goes on with it", "--new-run begins again"),
        code="batch-shards",
    )


async def begin(
    connection: AsyncConnection, identity: Identity, run_id: str, *, shards: int = 0
) -> Checkpoint:
    """Begin a batch. A second run that does the same at this moment gets an IntegrityError."""
    now = datetime.now(UTC)
    values = {
        "id": f"{run_id}.{identity.part}" if identity.part else run_id,
        "key": identity.key,
        "command": identity.command,
        "arguments": identity.arguments,
        "part": identity.part,
        "shards": shards,
        "status": State.RUNNING.value,
        "run_id": run_id,
        "fence": 1,
        "started_at": now,
        "heartbeat_at": now,
    }
    row = await connection.execute(insert(batches).values(values).returning(batches))
    return Checkpoint.of_row(row.mappings().one(), began=0)


async def take(
    connection: AsyncConnection, found: RowMapping, run_id: str, *, requested: str = ""
) -> Checkpoint:
    """Make a batch this run's own, and raise its fence.

    Args:
        connection: In a transaction, in which the row is locked.
        found: The row.
        run_id: Whose it is from now on.
        requested: What operators ask of the batch whose shard it is.
    """
    # What the run before saved is put into its own record, which is still open if it was killed.
    await connection.execute(
        update(runs)
        .where(runs.c.id == found["run_id"], runs.c.finished_at.is_(None))
        .values(rows=func.coalesce(runs.c.rows, 0) + found["run_rows"])
    )
    taken = (
        update(batches)
        .where(batches.c.id == found["id"])
        .values(
            run_id=run_id,
            fence=found["fence"] + 1,
            run_rows=0,
            status=State.RUNNING.value if found["finished_at"] is None else State.FINISHED.value,
            requested=requested,
            note="",
            exit_code=None,
            heartbeat_at=datetime.now(UTC),
        )
    )
    row = (await connection.execute(taken.returning(batches))).mappings().one()
    return Checkpoint.of_row(row, began=row["rows_done"])


async def _is_gone(connection: AsyncConnection, run_id: str) -> bool:
    """Return whether the process of a run is dead, and its lock still held.

    It was killed a moment ago on this machine, and the server has not seen it yet.
    """
    about = select(runs.c.host, runs.c.pid, runs.c.process_started).where(runs.c.id == run_id)
    row = (await connection.execute(about)).one_or_none()
    return (
        row is not None
        and row.host == socket.gethostname()
        and process_started(row.pid) != row.process_started
    )
