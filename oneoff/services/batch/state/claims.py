"""Claim a batch: find the one to resume or begin one, and refuse while a living run works on it.

The claim protocol in short. A claim locks the row of the batch, makes sure that no living run has
it, writes its own run id into the row, and adds one to the fence. From then on `checkpoints.write`
of the run before matches no row, so whatever that run still has in work is rolled back: a run that
was taken for dead, and is not, can't save anything over the newer one.
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
from oneoff.runtime.audit.record import close_abandoned, process_started
from oneoff.services.batch.state.checkpoints import IDLE, Checkpoint, State, cancel_unfinished
from oneoff.services.batch.state.queries import find_current, shard_rows

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.batch.transactions import Transactions

T = TypeVar("T")

_CLAIMS = 10
_CLAIM_PAUSE = 0.2  # seconds; with ten attempts, two seconds for the server to notice a killed run


class BatchRunning(TemporaryError):
    """Another run works on the same batch now.

    Args:
        command: The command of the batch.
        run_id: The other run.
        whose: Its operator, and where: "ada on shop-1".
        paused: Whether it waits for `batch resume`.
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
    """Claim a batch, and try again if the conflict will pass by itself.

    Two conflicts do. Another run begins the same batch at the same moment: the unique index over
    the keys of unfinished batches lets only one insert it, and the next attempt finds its row. Or
    the run that has the batch was killed a moment ago, and the server still holds its lock.

    Args:
        transactions: Where the claim is committed.
        attempt: Claims the batch in the transaction that it is given.

    Raises:
        BatchRunning: Another run works on it, and is alive.
    """
    for _ in range(_CLAIMS - 1):
        try:
            async with transactions.begin() as connection:
                return await attempt(connection)
        except IntegrityError:
            pass
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
    """Claim the unfinished batch with this identity, or begin a new one.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is the one that claims.
        identity: Which batch.
        new_run: Cancel an unfinished one, and begin again.
        shards: Into how many it is cut; 0 for not at all.
        beside_workers: Whether other runs may work on its shards.

    Raises:
        BatchRunning: Another run works on it.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await cancel_reverted(connection, database, identity)
    await close_abandoned(connection, database)
    row = await find_current(connection, identity, lock=True)
    if row is None:
        return await begin_batch(connection, identity, database.run_id, shards=shards)
    if not (identity.once and row["finished_at"]):
        await refuse_while_running(connection, row, database.run_id)
    if row["shards"] and (new_run or not beside_workers):
        await _refuse_while_shards_run(connection, row, database.run_id)
    if new_run:
        if row["finished_at"] is None:
            note = f"begun again by run {database.run_id}"
            await cancel_unfinished(connection, row["id"], note)
        return await begin_batch(connection, identity, database.run_id, shards=shards)
    check_shards(row, shards)
    return await claim_row(connection, row, database.run_id)


async def cancel_reverted(
    connection: AsyncConnection, database: Database, identity: Identity
) -> None:
    """Cancel the unfinished batch that this one reverts, if it reverts one.

    If that batch resumed later where it stopped, it would pass over the rows that were reverted in
    the meantime, and report that all rows are done.

    Args:
        connection: In the transaction that claims the batch.
        database: Its run id is the one that claims.
        identity: Of the batch that is claimed.

    Raises:
        BatchRunning: Another run works on the batch to revert.
        TemporaryError: `batch-running`: another run claims one of the two at this moment.
    """
    if not identity.reverts:
        return
    # Until the transaction ends: without the lock, two runs that begin one of the pair each would
    # not see each other's uncommitted rows. On SQLite there is one writing transaction anyway.
    first, second = sorted((identity.command, identity.reverts))
    if not await is_free(connection, database, f"batch:{first}|{second}"):
        raise TemporaryError(
            f"another run begins {first} or {second} in this moment",
            why="only one of the two can be going on",
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
        note = f"run {database.run_id} did the opposite"
        await cancel_unfinished(connection, row["id"], note)


async def refuse_while_running(connection: AsyncConnection, row: RowMapping, run_id: str) -> None:
    """Refuse a batch that a living run works on; `close_abandoned` has closed the dead ones before.

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


async def _refuse_while_shards_run(
    connection: AsyncConnection, parent: RowMapping, run_id: str
) -> None:
    for row in await shard_rows(connection, parent["id"], unfinished=True):
        await refuse_while_running(connection, row, run_id)


def check_shards(row: RowMapping, shards: int) -> None:
    """Refuse to resume a batch that was cut into another number of shards.

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


async def begin_batch(
    connection: AsyncConnection, identity: Identity, run_id: str, *, shards: int = 0
) -> Checkpoint:
    """Insert the row of a new batch, with this run as the one that has it.

    Raises:
        IntegrityError: Another run began the same batch at this moment: a unique index allows each
            key once among unfinished batches.
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
    return Checkpoint.of_row(row.mappings().one(), began=0)


async def claim_row(
    connection: AsyncConnection, found: RowMapping, run_id: str, *, requested: str = ""
) -> Checkpoint:
    """Write this run into the existing row of a batch or shard, and raise its fence.

    Args:
        connection: In a transaction, in which the row is locked.
        found: The row.
        run_id: The run that claims it.
        requested: What operators ask of the parent batch, if it is a shard.
    """
    # `close_abandoned` closes a run that was killed, with the sum of `run_rows` over its batches.
    # This batch leaves it now and counts from 0 again, so its rows go into that record first.
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
    """Return whether the process of a run on this machine is dead, though its lock is held.

    The server notices a killed client a moment later. The start time of the process tells it from
    another one that got the same process id since.
    """
    about = select(runs.c.host, runs.c.pid, runs.c.process_started).where(runs.c.id == run_id)
    row = (await connection.execute(about)).one_or_none()
    return (
        row is not None
        and row.host == socket.gethostname()
        and process_started(row.pid) != row.process_started
    )
