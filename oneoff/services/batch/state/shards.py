"""Cut a batch into shards, claim one of them, and close the parent batch when all have ended.

A shard is a row of its own in `oneoff_batches`, which names the row of its batch as `parent`. The
run that begins the parent cuts it and writes all shards in one transaction, so that every later run
works with the same ranges. Each shard is claimed, fenced and saved like any batch. The run that
finishes the last one closes the parent; in a fleet the supervisor does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.record import close_abandoned
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
    """Claim the parent batch, and cut it if it is new, into as many shards as its command says.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is the one that claims.
        identity: Which batch.
        selection: Its rows.
        confirmed: The target that was confirmed, for workers to do the shards there. Empty if this
            run does them itself; workers then refuse them.

    Raises:
        BatchRunning: Another run works on it.
        UsageError: `batch-shards`: it was cut into another number.
    """
    checkpoint = await claims.claim(
        connection,
        database,
        identity,
        new_run=selection.command.new_run,
        shards=selection.command.shards,
        beside_workers=bool(confirmed),
    )
    if checkpoint.fence == 1:  # it was begun just now
        await _cut(connection, checkpoint, identity, selection, database.run_id)
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
    """Return one shard of the unfinished parent batch; begin and cut the parent if there is none.

    Any number of runs may do that at once: all but one get an IntegrityError, and try again.

    Raises:
        BatchRunning: Another run has finished that shard, and has not ended yet.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await claims.cancel_reverted(connection, database, identity)
    await close_abandoned(connection, database)
    part = f"{shard_number}/{shards}"
    row = await find_current(connection, identity, shard_number=shard_number)
    if row is None:
        begun = await claims.begin_batch(connection, identity, database.run_id, shards=shards)
        await _cut(connection, begun, identity, selection, database.run_id)
        return (await read_shards(connection, begun.id, part=part))[0]
    claims.check_shards(row, shards)
    if row["finished_at"] and not identity.once:
        for shard in await shard_rows(connection, row["id"], part=part):
            await claims.refuse_while_running(connection, shard, database.run_id)
    return (await read_shards(connection, row["id"], part=part))[0]


async def claim_shard(connection: AsyncConnection, database: Database, shard_id: str) -> Checkpoint:
    """Claim a shard; return one that has ended as it is.

    A shard that ended in a run which was killed before it reported is claimed all the same, so that
    this run reports it.

    Raises:
        BatchRunning: Another run works on it.
    """
    await close_abandoned(connection, database)
    found = await connection.execute(
        select(batches).where(batches.c.id == shard_id).with_for_update()
    )
    row = found.mappings().one()
    if State(row["status"]) in ENDED:
        status = await connection.scalar(select(runs.c.status).where(runs.c.id == row["run_id"]))
        if status != Status.ABANDONED.value:
            return replace(Checkpoint.of_row(row, began=row["rows_done"]), run_rows=0)
    await claims.refuse_while_running(connection, row, database.run_id)
    # A claim clears what an operator requested of the run before. What was requested of the parent
    # holds for every shard of it, also for one that is claimed only now.
    requested = await connection.scalar(
        select(batches.c.requested).where(batches.c.id == row["parent"])
    )
    return await claims.claim_row(connection, row, database.run_id, requested=requested or "")


async def close_parent(
    connection: AsyncConnection, parent_id: str, run_id: str = "", *, supervised: bool = False
) -> State | None:
    """Close the parent if all of its shards have ended; return what it ended as, or None.

    Call it in a transaction after the one that ended a shard. Two runs may end the last two shards
    at once, and neither sees the other's uncommitted row; but each locks the parent here after its
    own commit, so the second to get the lock sees both shards ended.

    Args:
        connection: In a transaction, which the caller commits.
        parent_id: Id of the batch that has the shards.
        run_id: The run that closes it; empty to leave the run that had it last.
        supervised: The supervisor of a fleet calls. Workers leave a batch that is finished to it:
            if it was stopped meanwhile, the operator starts it again, and must then read that all
            rows are done. A batch that workers had closed would be begun anew.
    """
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
    ended = State.CANCELLED if State.CANCELLED in states else State.FINISHED
    if row["confirmed"] and ended is State.FINISHED and not supervised:
        return None
    now = datetime.now(UTC)
    run_id = run_id or row["run_id"]
    values = {"status": ended.value, "run_id": run_id, "note": "", "requested": ""}
    closed = update(batches).where(batches.c.id == parent_id)
    await connection.execute(closed.values(**values, finished_at=now, heartbeat_at=now))
    return ended


async def rows_by_run(connection: AsyncConnection, parent_id: str, run_id: str) -> int:
    """Return how many rows a run has changed in all shards of a batch."""
    rows = select(func.sum(batches.c.run_rows)).where(
        batches.c.parent == parent_id, batches.c.run_id == run_id
    )
    return int(await connection.scalar(rows) or 0)


async def _cut(
    connection: AsyncConnection,
    parent: Checkpoint,
    identity: Identity,
    selection: Selection,
    run_id: str,
) -> None:
    """Write the shards of a batch: all of them, also those without rows, or none."""
    total = await ranges.estimate(connection, selection.keys(None))
    await checkpoints.write_total(connection, parent, total)
    limits = await ranges.cut(connection, selection, parent.shards)
    parts = [f"{number}/{parent.shards}" for number in range(1, parent.shards + 1)]
    now = datetime.now(UTC)
    common = {
        "command": identity.command,
        "arguments": identity.arguments,
        "parent": parent.id,
        "status": State.WAITING.value,
        "run_id": run_id,
        "fence": 0,
        "started_at": parent.started_at,  # ages count from the same moment in all of them
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
