"""Claim a batch: find the one to resume or start a new one; refuse it while a run works on it.

The steps of a claim: lock the row of the batch, make sure that no active run has the batch, write
the new run id into the row, and add one to the fence. After that, `checkpoints.write` of the
earlier run matches no row, so its current transaction is rolled back. A run that was treated as
dead but is alive can't overwrite the work of the newer run.
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
from oneoff.database.locks.acquire import is_free
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.abandoned import close_abandoned, process_started
from oneoff.services.batch.state.checkpoints import IDLE, Checkpoint, State, cancel_unfinished
from oneoff.services.batch.state.queries import find_current, shard_rows

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.batch.transactions import Transactions

T = TypeVar("T")

_CLAIMS = 10  # attempts
_CLAIM_PAUSE = 0.2  # seconds; ten attempts give the server two seconds to notice a killed run


class BatchRunning(TemporaryError):
    """Another run works on the same batch.

    Args:
        command: The command of the batch.
        run_id: Id of the other run.
        whose: Its operator and host: "ada on shop-1".
        paused: Whether it waits for `batch resume`.
    """

    code = "batch-running"

    def __init__(self, command: str, run_id: str, whose: str, *, paused: bool = False) -> None:
        does = "is paused" if paused else "is already running"
        super().__init__(
            f"{command} {does} with these arguments: run {run_id}, by {whose}",
            why="only one run at a time can work on a batch",
            try_=f"python manage.py batch {'resume' if paused else 'show'} {run_id}",
        )
        self.run_id = run_id


async def claim_with_retry(
    transactions: Transactions,
    attempt: Callable[[AsyncConnection], Awaitable[T]],
) -> T:
    """Claim a batch, and try again after a temporary conflict.

    There are two. Another run may start the same batch at the same time: the unique index over the
    keys of unfinished batches lets only one run insert the row, and the next attempt finds it. Or
    the run that has the batch was just killed, and the server still holds its lock.

    Args:
        transactions: Opens the transaction in which the claim is committed.
        attempt: Claims the batch in the transaction of the given connection.

    Raises:
        BatchRunning: Another run works on it, and is alive.
    """
    for _ in range(_CLAIMS - 1):
        try:
            async with transactions.begin() as connection:
                return await attempt(connection)
        except IntegrityError:
            pass  # another run has inserted the batch; the next attempt finds its row
        except BatchRunning as exc:
            async with transactions.begin() as connection:
                if not await _is_gone(connection, exc.run_id):
                    raise
        await asyncio.sleep(_CLAIM_PAUSE)
    # The last attempt: its error is raised.
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
    """Claim the unfinished batch with this identity, or start a new one.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is that of the claiming run.
        identity: Identity of the batch.
        new_run: Cancel an unfinished batch, and start a new one.
        shards: Number of shards of the batch; 0 for a batch without shards.
        beside_workers: Whether other runs may work on its shards.

    Raises:
        BatchRunning: Another run works on it.
        UsageError: `batch-shards`: it was divided into another number of shards.
    """
    await cancel_reverted(connection, database, identity)
    # Before the row is read: a killed run has the status `started` until it is closed, and would
    # look like an active one.
    await close_abandoned(connection, database)
    # The lock on the row orders concurrent claims: the second one reads the run id of the first.
    row = await find_current(connection, identity, lock=True)
    if row is None:
        return await insert_batch(connection, identity, database.run_id, shards=shards)
    # A finished batch of `--once` has no rows left to process, so its run may still be active.
    if not (identity.once and row["finished_at"]):
        await refuse_while_running(connection, row, database.run_id)
    # A supervisor may claim the parent while workers process its shards. A run that processes the
    # shards itself, or cancels them with --new-run, is refused.
    if row["shards"] and (new_run or not beside_workers):
        await _refuse_while_shards_run(connection, row, database.run_id)
    if new_run:
        if row["finished_at"] is None:
            note = f"started again by run {database.run_id}"
            await cancel_unfinished(connection, row["id"], note)
        return await insert_batch(connection, identity, database.run_id, shards=shards)
    check_shards(row, shards)
    return await claim_row(connection, row, database.run_id)


async def cancel_reverted(
    connection: AsyncConnection, database: Database, identity: Identity
) -> None:
    """Cancel the unfinished batch that this one reverts, if it reverts one.

    If that batch were resumed later, it would skip the rows that were reverted in the meantime, and
    report that all rows are done.

    Args:
        connection: In the transaction that claims the batch.
        database: Its run id is that of the claiming run.
        identity: Identity of the batch that is claimed.

    Raises:
        BatchRunning: Another run works on the batch to revert.
        TemporaryError: `batch-running`: another run is claiming one of the two now.
    """
    if not identity.reverts:
        return
    # The lock is held until the transaction ends. Without it, two runs that start one batch of the
    # pair each would not see each other's uncommitted rows. SQLite has one writing transaction at a
    # time anyway.
    first, second = sorted((identity.command, identity.reverts))
    if not await is_free(connection, database, f"batch:{first}|{second}"):
        raise TemporaryError(
            f"another run is starting {first} or {second}",
            why="only one of the two can be unfinished",
            try_="python manage.py batch list",
            code="batch-running",
        )
    await close_abandoned(connection, database)
    unfinished = select(batches).where(
        batches.c.command == identity.reverts,
        batches.c.parent == "",
        batches.c.finished_at.is_(None),
    )
    for row in (await connection.execute(unfinished.with_for_update())).mappings().all():
        await refuse_while_running(connection, row, database.run_id)
        if row["shards"]:
            await _refuse_while_shards_run(connection, row, database.run_id)
        note = f"reverted by run {database.run_id}"
        await cancel_unfinished(connection, row["id"], note)


async def refuse_while_running(connection: AsyncConnection, row: RowMapping, run_id: str) -> None:
    """Refuse a batch that an active run works on. Call `close_abandoned` first.

    Raises:
        BatchRunning: A run works on it.
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


async def _refuse_while_shards_run(
    connection: AsyncConnection, parent: RowMapping, run_id: str
) -> None:
    for row in await shard_rows(connection, parent["id"], unfinished=True):
        await refuse_while_running(connection, row, run_id)


def check_shards(row: RowMapping, shards: int) -> None:
    """Refuse to resume a batch that was divided into another number of shards.

    Raises:
        UsageError: `batch-shards`.
    """
    if row["shards"] == shards:
        return
    how = f"with --shards {row['shards']}" if row["shards"] else "without --shards"
    raise UsageError(
        f"the unfinished batch {row['id']} was started {how}, and can only be resumed that way",
        try_=(f"run the same command {how} to resume it", "add --new-run to start a new batch"),
        code="batch-shards",
    )


async def insert_batch(
    connection: AsyncConnection, identity: Identity, run_id: str, *, shards: int = 0
) -> Checkpoint:
    """Insert the row of a new batch, claimed by this run.

    Raises:
        IntegrityError: Another run has just started the same batch: a unique index allows each key
            once among unfinished batches.
    """
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
    return Checkpoint.of_row(row.mappings().one(), done_before=0)


async def claim_row(
    connection: AsyncConnection, found: RowMapping, run_id: str, *, requested: str = ""
) -> Checkpoint:
    """Write this run into the existing row of a batch or shard, and raise its fence.

    Args:
        connection: In a transaction, in which the row is locked.
        found: The row.
        run_id: The run that claims it.
        requested: For a shard, the request of an operator for the parent batch.
    """
    # `close_abandoned` closes a killed run with the sum of `run_rows` over its batches. This batch
    # now belongs to another run and counts from 0 again, so its rows are added to the record of the
    # earlier run first.
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
    return Checkpoint.of_row(row, done_before=row["rows_done"])


async def _is_gone(connection: AsyncConnection, run_id: str) -> bool:
    """Return whether the process of a run on this machine is dead, although its lock is held.

    The server notices a killed client with a delay. The start time distinguishes the process from a
    later one with the same process id.
    """
    about = select(runs.c.host, runs.c.pid, runs.c.process_started).where(runs.c.id == run_id)
    row = (await connection.execute(about)).one_or_none()
    return (
        row is not None
        and row.host == socket.gethostname()
        and process_started(row.pid) != row.process_started
    )
