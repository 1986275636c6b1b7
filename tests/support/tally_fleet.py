"""Workers of ARQ in this process, for the shards of the tally project."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import Worker
from arq.connections import ArqRedis

from oneoff import Project
from oneoff.integrations.arq import shard_function
from tests.support.tally_project import PATIENCE, ROOT, project


@asynccontextmanager
async def queue(environ: dict[str, str]) -> AsyncIterator[ArqRedis]:
    """Connect to the queue."""
    async with ArqRedis.from_url(environ["REDIS_URL"]) as pool:
        yield pool


@asynccontextmanager
async def worker(
    environ: dict[str, str], *, of: Project = project, **more: str
) -> AsyncIterator[Worker]:
    """Run a worker of a project during the block."""
    async with queue(environ) as pool:
        made: Worker = Worker(
            functions=[shard_function(of, str(ROOT), {**environ, **more})],
            redis_pool=pool,
            handle_signals=False,
            poll_delay=0.02,
            max_jobs=2,
        )
        task = asyncio.create_task(made.async_run())
        yield made
        # Let active jobs and the loop end. A connection that is cancelled while it opens, or while
        # it unwatches a key, is not closed.
        made.allow_pick_jobs = False
        made.burst, made.max_burst_jobs = True, 0
        await asyncio.wait([task, *made.tasks.values()], timeout=PATIENCE)
        for each in (task, *made.tasks.values()):
            each.cancel()
        await asyncio.gather(task, *made.tasks.values(), return_exceptions=True)


async def work_off(environ: dict[str, str]) -> None:
    """Let a worker execute all jobs in the queue."""
    async with queue(environ) as pool:
        made: Worker = Worker(
            functions=[shard_function(project, str(ROOT), environ)],
            redis_pool=pool,
            handle_signals=False,
            poll_delay=0.02,
            burst=True,
        )
        await made.async_run()
