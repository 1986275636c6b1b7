"""Shards of a batch as jobs: Redis hands them out, and knows nothing else of them.

The id of a job is that of the shard with its fence, which every claim raises: what is queued twice
for one claim is one job, and what must be queued again for the next one is another.
"""

from __future__ import annotations

from enum import Enum

from oneoff.core.errors import ConfigurationError
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.queue import Jobs, now_ms, serialize

NAME = "oneoff_shard"
TIMEOUT = 290.0
"""Seconds of one try. ARQ waits for the longest of a worker's functions before it gives a job that
was lost to another worker, so this stays below its default of 300."""
MANY_TRIES = 1_000_000
"""A shard is taken up as often as workers are replaced under it."""


class Given(Enum):
    """What became of an attempt to hand a shard out."""

    QUEUED = "queued"
    """It waits for a worker."""
    TAKEN = "taken"
    """A worker has the job; its run has not claimed the shard yet, or the worker died."""
    GONE = "gone"
    """It is not in the queue, and can't be queued again: ARQ keeps a result, that it expired."""


def job_id_of(shard_id: str, fence: int, attempt: int = 0) -> str:
    """Return the id of the job for one claim."""
    return f"{NAME}:{shard_id}:{fence}" + (f":{attempt}" if attempt else "")


class Handout:
    """Queues shards.

    Args:
        jobs: The queue of the project's worker.

    Raises:
        ConfigurationError: `worker-without-shards`: the worker has no function for them.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        if NAME not in jobs.worker.tasks:
            raise ConfigurationError(
                f"the worker {jobs.worker.source} takes no shards",
                why="its functions do not include the one that does them",
                try_="add shard_function(project, root), from oneoff.integrations.arq, to them",
                code="worker-without-shards",
            )

    async def give(self, shard_id: str, fence: int, attempt: int) -> Given:
        """Queue a shard unless it is queued already.

        Raises:
            CommandError: What Redis says against it; `Unavailable` if it can't be reached.
        """
        from redis.exceptions import RedisError

        from oneoff.redis.errors import translate_redis_error

        self._jobs.must_write(f"queue {NAME}")
        try:
            return await self._give(shard_id, fence, attempt)
        except RedisError as exc:
            raise translate_redis_error(exc) or exc from exc

    async def _give(self, shard_id: str, fence: int, attempt: int) -> Given:
        job_id, now = job_id_of(shard_id, fence, attempt), now_ms()
        raw = serialize(self._jobs.worker, NAME, (shard_id,), {}, now)
        if await self._jobs.put(job_id, raw, now, now):
            return Given.QUEUED
        client = self._jobs.client
        if not await client.exists(arq_keys.job(job_id)):
            return Given.GONE
        return Given.TAKEN if await client.exists(arq_keys.in_progress(job_id)) else Given.QUEUED
