"""Start a batch as its options require: in one piece, in shards, by workers, or one shard of it.

| Started by | Runs in |
| --- | --- |
| the job of a worker: `run.shard` is the id of its shard | `run_shard`, for this shard |
| `--fleet` | `fleet.Fleet`, the supervisor |
| `--shard 3/8` | `run_shard`, for the third shard |
| `--shards 8` | `sharded.ShardedRun`, which makes a `ShardRun` for each shard |
| none of these | `loop.BatchRun` |

In all cases a `BatchRun` processes the rows: `ShardRun` is a subclass that claims a shard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.errors import ConfigurationError
from oneoff.core.result import Result
from oneoff.services.batch.run.loop import BatchRun
from oneoff.services.batch.run.sharded import ShardedRun, run_shard
from oneoff.services.batch.state.claims import claim_with_retry
from oneoff.services.batch.state.queries import read_with_parent
from oneoff.services.batch.state.shards import join_parent
from oneoff.services.batch.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.jobs.queue import Jobs


async def start(
    selection: Selection,
    identity: Identity,
    context: RunContext,
    *,
    shard_number: int,
    shards: int,
    open_jobs: Callable[[], Awaitable[Jobs]],
) -> Result:
    """Run the batch in this process, or let the project's workers run it.

    Args:
        selection: The command with its rows.
        identity: Identity of the batch.
        context: The objects that the batches of the run share. If the run was started for one
            shard, only this shard is processed.
        shard_number: The one shard to process; 0 for all.
        shards: Number of shards of the batch; 0 for a batch without shards.
        open_jobs: Connects to the queue of the workers.
    """
    command, database = selection.command, context.database
    if context.run.shard:
        return await _run_assigned_shard(command, identity, context)
    if command.fleet:
        from oneoff.services.batch.run.fleet import Fleet
        from oneoff.services.jobs.shard_queue import ShardQueue

        return await Fleet(selection, identity, context, ShardQueue(await open_jobs())).run()
    if shard_number:
        # Many processes may start the batch at the same time; one divides it, the others try again.
        async with Transactions(database) as transactions:
            shard = await claim_with_retry(
                transactions,
                lambda connection: join_parent(
                    connection,
                    database,
                    identity,
                    selection,
                    shard_number=shard_number,
                    shards=shards,
                ),
            )
        return await run_shard(command, shard, identity, context)
    kind = ShardedRun if shards else BatchRun
    return await kind(selection, identity, context).run()


async def _run_assigned_shard(
    command: BatchCommand, identity: Identity, context: RunContext
) -> Result:
    """Run the shard that a worker started this run for, if it belongs to this batch.

    Raises:
        ConfigurationError: `batch-arguments`: the batch was started with other inputs.
    """
    async with Transactions(context.database) as transactions, transactions.begin() as connection:
        parent, shard = await read_with_parent(connection, context.run.shard)
    if (parent["command"], parent["part"]) != (identity.command, identity.part):
        return Result.unchanged("this run is for a shard of another part")
    if identity.key != parent["key"]:
        raise ConfigurationError(
            f"{identity.command} has other inputs here than in the batch {parent['id']}",
            why="the worker's code is not the code that started the batch",
            try_="deploy the same release everywhere, or start a new batch with --new-run",
            code="batch-arguments",
        )
    return await run_shard(command, shard, identity, context, alone=False)
