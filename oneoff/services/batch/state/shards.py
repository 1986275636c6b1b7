"""Divide a batch into shards, claim one of them, and close the parent batch when all have ended.

A shard has its own row in `oneoff_batches`, with the id of its batch as `parent`. The run that
starts the parent inserts all shards in the same transaction, so that every later run uses the same
ranges. Each shard is claimed, fenced and saved like any batch. The run that finishes the last shard
closes the parent; in a fleet, the supervisor closes it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.abandoned import close_abandoned
from oneoff.services.batch.rows import ranges
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.checkpoints import ENDED, Checkpoint, State
from oneoff.services.batch.state.queries import Shard, find_current, read_shards, shard_rows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.state.identity import Identity


async def claim_parent(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    selection: Selection,
    *,
    confirmed: str = "",
) -> Checkpoint:
    """Claim the parent batch; if it is new, divide it into the number of shards of its command.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is that of the claiming run.
        identity: Identity of the batch.
        selection: Its rows.
        confirmed: The confirmed target, on which workers may process the shards. Empty if this run
            processes them itself; workers then refuse the shards.

    Raises:
        BatchRunning: Another run works on it.
        UsageError: `batch-shards`: it was divided into another number of shards.
    """
    checkpoint = await claims.claim(
        connection,
        database,
        identity,
        new_run=selection.command.new_run,
        shards=selection.command.shards,
        beside_workers=bool(confirmed),
    )
    if checkpoint.fence == 1:  # this transaction has inserted it
        await _insert_shards(connection, checkpoint, identity, selection, database.run_id)
    # At each claim: a run that processes the shards itself clears the target, so that workers
    # refuse jobs that an earlier supervisor has queued.
    await connection.execute(
        update(batches).where(batches.c.id == checkpoint.id).values(confirmed=confirmed)
    )
    return checkpoint


async def join_parent(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    selection: Selection,
    *,
    shard_number: int,
    shards: int,
) -> Shard:
    """Return one shard of the unfinished parent batch; start and divide the parent if none exists.

    Any number of runs may call this at the same time: all but one get an IntegrityError, and must
    try again.

    Raises:
        BatchRunning: Another run has finished that shard, and has not ended yet.
        UsageError: `batch-shards`: it was divided into another number of shards.
    """
    await claims.cancel_reverted(connection, database, identity)
    await close_abandoned(connection, database)
    part = f"{shard_number}/{shards}"
    row = await find_current(connection, identity, shard_number=shard_number)
    if row is None:
        parent = await claims.insert_batch(connection, identity, database.run_id, shards=shards)
        await _insert_shards(connection, parent, identity, selection, database.run_id)
        return (await read_shards(connection, parent.id, part=part))[0]
    claims.check_shards(row, shards)
    # A finished batch is found only if the run of this shard has not reported its end. It may still
    # be active, and is then refused.
    if row["finished_at"] and not identity.once:
        for shard in await shard_rows(connection, row["id"], part=part):
            await claims.refuse_while_running(connection, shard, database.run_id)
    return (await read_shards(connection, row["id"], part=part))[0]


async def claim_shard(connection: AsyncConnection, database: Database, shard_id: str) -> Checkpoint:
    """Claim a shard; return a shard that has ended without claiming it.

    If the run that ended the shard was killed before it reported that, the shard is claimed anyway,
    so that this run reports it.

    Raises:
        BatchRunning: Another run works on it.
    """
    await close_abandoned(connection, database)
    # The lock orders concurrent claims of the shard: the second one reads the run id of the first.
    found = await connection.execute(
        select(batches).where(batches.c.id == shard_id).with_for_update()
    )
    row = found.mappings().one()
    if State(row["status"]) in ENDED:
        status = await connection.scalar(select(runs.c.status).where(runs.c.id == row["run_id"]))
        if status != Status.ABANDONED.value:
            return replace(Checkpoint.of_row(row, done_before=row["rows_done"]), run_rows=0)
    await claims.refuse_while_running(connection, row, database.run_id)
    # A claim clears the request that the earlier run had. A request for the parent applies to all
    # of its shards, also to one that is claimed only now.
    requested = await connection.scalar(
        select(batches.c.requested).where(batches.c.id == row["parent"])
    )
    return await claims.claim_row(connection, row, database.run_id, requested=requested or "")


async def close_parent(
    connection: AsyncConnection, parent_id: str, run_id: str = "", *, supervised: bool = False
) -> State | None:
    """Close the parent if all of its shards have ended; return its final state, or None.

    Call it in a transaction after the one that ended a shard.

    Args:
        connection: In a transaction, which the caller commits.
        parent_id: Id of the parent batch.
        run_id: The run that closes it; empty to keep the run that had it last.
        supervised: Whether the supervisor of a fleet calls. Workers don't close a finished batch of
            a fleet. If the supervisor was stopped meanwhile, the operator starts it again, and it
            must report that all rows are done. If workers had closed the batch, that run would
            start a new one.
    """
    # Two runs may end the last two shards at the same time, and neither sees the other's
    # uncommitted row. But each locks the parent here after its own commit, so the second one to get
    # the lock sees that both shards have ended.
    locked = select(batches).where(batches.c.id == parent_id).with_for_update()
    row = (await connection.execute(locked)).mappings().one()
    if State(row["status"]) in ENDED:
        return State(row["status"])
    found = await connection.scalars(
        select(batches.c.status).where(batches.c.parent == parent_id).distinct()
    )
    states = {State(status) for status in found}
    if not states <= ENDED:
        return None
    # One cancelled shard makes the batch cancelled: its rows are not done.
    ended = State.CANCELLED if State.CANCELLED in states else State.FINISHED
    # Only a fleet has a confirmed target: see `supervised`.
    if row["confirmed"] and ended is State.FINISHED and not supervised:
        return None
    now = datetime.now(UTC)
    run_id = run_id or row["run_id"]
    values = {"status": ended.value, "run_id": run_id, "note": "", "requested": ""}
    closed = update(batches).where(batches.c.id == parent_id)
    await connection.execute(closed.values(**values, finished_at=now, heartbeat_at=now))
    return ended


async def rows_by_run(connection: AsyncConnection, parent_id: str, run_id: str) -> int:
    """Return the number of rows that a run has changed in all shards of a batch."""
    rows = select(func.sum(batches.c.run_rows)).where(
        batches.c.parent == parent_id, batches.c.run_id == run_id
    )
    return int(await connection.scalar(rows) or 0)


async def _insert_shards(
    connection: AsyncConnection,
    parent: Checkpoint,
    identity: Identity,
    selection: Selection,
    run_id: str,
) -> None:
    """Insert all shards of a batch, including those without rows."""
    total = await ranges.estimate(connection, selection.keys(None))
    await checkpoints.write_total(connection, parent, total)
    limits = await ranges.split(connection, selection, parent.shards)
    parts = [f"{number}/{parent.shards}" for number in range(1, parent.shards + 1)]
    now = datetime.now(UTC)
    common = {
        "command": identity.command,
        "arguments": identity.arguments,
        "parent": parent.id,
        "status": State.WAITING.value,
        "run_id": run_id,
        "fence": 0,
        "started_at": parent.started_at,  # all shards compute ages from the same time
        "heartbeat_at": now,
    }
    rows = [
        {
            **common,
            "id": f"{parent.id}.{part}",
            "key": identity._replace(part=part, parent=parent.id).key,
            "part": part,
            **ranges.stored(each),
        }
        for part, each in zip(parts, limits, strict=True)
    ]
    await connection.execute(insert(batches), rows)
