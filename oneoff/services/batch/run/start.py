"""Start a batch as its command line says: as a whole, in shards, or one shard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.result import Result
from oneoff.services.batch.run.bounds import Bounds
from oneoff.services.batch.run.current_shard import TURN, assigned, check_same
from oneoff.services.batch.run.loop import BatchRun, Shared
from oneoff.services.batch.run.rejects import Rejects
from oneoff.services.batch.run.sharded import ShardedRun, run_shard
from oneoff.services.batch.state.claims import claim_with_retry
from oneoff.services.batch.run.shared import Liveness
from oneoff.services.batch.state.shards import join_parent, read_with_parent
from oneoff.services.batch.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.run.throttling import Pace
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.batch.state.shards import Shard
    from oneoff.services.jobs.queue import Jobs


async def start(
    command: BatchCommand,
    selection: Selection,
    identity: Identity,
    *,
    number: int,
    shards: int,
    run: Run,
    database: Database,
    terminal: Terminal,
    progress: Progress,
    pace: Pace,
    open_jobs: Callable[[], Awaitable[Jobs]],
) -> Result:
    """Run the batch, for real: in this process, or by the project's workers.

    Args:
        command: What to do.
        selection: With which rows.
        identity: Which batch that is.
        number: The one shard to do; 0 for all.
        shards: Into how many the batch is cut; 0 for not at all.
        run: Which run that is.
        database: Where.
        terminal: What is said goes there.
        progress: Shows how far it is.
        pace: How much of the time the run is at work.
        open_jobs: Connects to the queue of the workers.
    """
    shard_id = assigned.get()
    shared = Shared(
        database=database,
        bounds=Bounds(command, turn=TURN if shard_id else None),
        rejects=Rejects(command.rejects),
        liveness=Liveness(database),
        terminal=terminal,
        progress=progress,
        pace=pace,
    )
    try:
        if shard_id:
            return await _do_assigned(command, identity, shared, shard_id)
        if command.fleet:
            from oneoff.services.batch.run.fleet import Fleet
            from oneoff.services.jobs.shard_queue import ShardQueue

            handout = ShardQueue(await open_jobs())
            return await Fleet(
                command, selection, identity, shared, handout=handout, environment=run.environment
            ).run()
        if number:
            shard = await _join(selection, identity, database, number, shards)
            return await run_shard(command, shard, identity, shared)
        kind = ShardedRun if shards else BatchRun
        return await kind(command, selection, identity, shared).run()
    finally:
        shared.rejects.close()
        await shared.liveness.release()


async def _join(
    selection: Selection, identity: Identity, database: Database, number: int, of: int
) -> Shard:
    """Find the shard; where many begin the batch at once, one does it and the others wait."""

    async def join(connection: AsyncConnection) -> Shard:
        return await join_parent(
            connection, database, identity, selection, number=number, shards=of
        )

    transactions = Transactions(database)
    try:
        return await claim_with_retry(transactions, join)
    finally:
        await transactions.close()


async def _do_assigned(
    command: BatchCommand, identity: Identity, shared: Shared, shard_id: str
) -> Result:
    """Do the shard that a worker was given, where it is one of this part of the command."""
    transactions = Transactions(shared.database)
    try:
        async with transactions.begin() as connection:
            whole, shard = await read_with_parent(connection, shard_id)
    finally:
        await transactions.close()
    if (whole["command"], whole["part"]) != (identity.command, identity.part):
        return Result.unchanged("this run is for a shard of another part")
    check_same(identity, whole)
    return await run_shard(command, shard, identity, shared, alone=False)
