"""Start a batch as its command line says: as a whole, in shards, or one shard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.batching.bounds import Bounds
from oneoff.batching.claiming import claim_patiently
from oneoff.batching.liveness import Liveness
from oneoff.batching.rejects import Rejects
from oneoff.batching.runner import BatchRun, Shared
from oneoff.batching.sharded import ShardedRun, run_shard
from oneoff.batching.shards import join_whole
from oneoff.batching.transactions import Transactions
from oneoff.schema.tables import batches

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.batch import BatchCommand
    from oneoff.batching.identity import Identity
    from oneoff.batching.selection import Selection
    from oneoff.batching.shards import Shard
    from oneoff.resources.database import Database
    from oneoff.resources.progress import Progress
    from oneoff.result import Result
    from oneoff.terminal import Terminal


async def start(
    command: BatchCommand,
    selection: Selection,
    identity: Identity,
    *,
    number: int,
    shards: int,
    database: Database,
    terminal: Terminal,
    progress: Progress,
) -> Result:
    """Run the batch, for real, in this process.

    Args:
        command: What to do.
        selection: With which rows.
        identity: Which batch that is.
        number: The one shard to do; 0 for all.
        shards: Into how many the batch is cut; 0 for not at all.
        database: Where.
        terminal: What is said goes there.
        progress: Shows how far it is.
    """
    shared = Shared(
        database=database,
        bounds=Bounds(command),
        rejects=Rejects(command.rejects),
        liveness=Liveness(database),
        terminal=terminal,
        progress=progress,
    )
    try:
        if number:
            shard = await _join(selection, identity, database, number, shards)
            return await run_shard(command, shard, identity, shared)
        run = ShardedRun if shards else BatchRun
        return await run(command, selection, identity, shared).run()
    finally:
        shared.rejects.close()
        await shared.liveness.release()


async def _join(
    selection: Selection, identity: Identity, database: Database, number: int, of: int
) -> Shard:
    """Find the shard; where many begin the batch at once, one does it and the others wait."""

    async def join(connection: AsyncConnection) -> Shard:
        return await join_whole(connection, database, identity, selection, number=number, shards=of)

    transactions = Transactions(database)
    try:
        return await claim_patiently(transactions, join, batches.c.key == identity.key)
    finally:
        await transactions.close()
