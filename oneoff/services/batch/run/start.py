"""Start a batch as its command line says: completely, in shards, by workers, or one shard of it.

| Started by | Goes on in |
| --- | --- |
| the job of a worker: `run.shard` is the id of its shard | `run_shard`, for this shard |
| `--fleet` | `fleet.Fleet`, the supervisor |
| `--shard 3/8` | `run_shard`, for the third shard |
| `--shards 8` | `sharded.ShardedRun`, which makes a `ShardRun` for each shard |
| none of these | `loop.BatchRun` |

`BatchRun` does the work in all of these cases: a `ShardRun` is one, with another claim.
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
    """Run the batch for real: in this process, or by the project's workers.

    Args:
        selection: The command with its rows.
        identity: Which batch that is.
        context: What the batches of the run share. If it has been started for one shard, nothing
            else is done.
        shard_number: The one shard to do; 0 for all.
        shards: Into how many the batch is cut; 0 for not at all.
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
        # Many processes may begin the batch at once; one cuts it, and the others try again.
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
    """Do the shard that a worker started the run for, if it belongs to this batch of the command.

    Raises:
        ConfigurationError: `batch-arguments`: the inputs are not those that the batch began with.
    """
    async with Transactions(context.database) as transactions, transactions.begin() as connection:
        parent, shard = await read_with_parent(connection, context.run.shard)
    if (parent["command"], parent["part"]) != (identity.command, identity.part):
        return Result.unchanged("this run is for a shard of another part")
    if identity.key != parent["key"]:
        raise ConfigurationError(
            f"{identity.command} has other inputs here than in the batch {parent['id']}",
            why="the worker's code is not the code that began the batch",
            try_="deploy the same release everywhere, or begin again with --new-run",
            code="batch-arguments",
        )
    return await run_shard(command, shard, identity, context, alone=False)
