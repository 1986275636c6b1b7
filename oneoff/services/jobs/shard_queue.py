"""Queue the shards of a batch as jobs. Redis stores only the ids of shards, no other data of them.

The id of a job is the id of the shard and its fence, which every claim raises. ARQ ignores an id
that already exists, so queueing a shard twice for the same claim creates one job. After a claim,
the next job has another id, so ARQ accepts it while the last job is still running.
"""

from __future__ import annotations

from enum import Enum

from oneoff.core.errors import ConfigurationError
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.queue import Jobs, now_ms, serialize

NAME = "oneoff_shard"
# When a worker dies, ARQ waits for the longest timeout of all its functions before another worker
# gets the job. This one must not make that longer, so it is below ARQ's default of 300.
TIMEOUT = 290.0
"""Seconds that one try may take."""
MAX_TRIES = 1_000_000  # in effect no limit: a shard is tried again when its worker is replaced


class JobState(Enum):
    """Where the job for a shard is."""

    QUEUED = "queued"
    """It waits for a worker."""
    TAKEN = "taken"
    """A worker has it. Its run has not claimed the shard yet, or the worker died before that."""
    BLOCKED = "blocked"
    """It is not in the queue, and ARQ accepts no job with its id because it keeps a result."""


def job_id_of(shard_id: str, fence: int, attempt: int = 0) -> str:
    """Return the id of the job for one claim; later attempts for the same claim get a number."""
    return f"{NAME}:{shard_id}:{fence}" + (f":{attempt}" if attempt else "")


class ShardQueue:
    """Queue shards for the project's worker.

    Args:
        jobs: The queue of the project's worker.

    Raises:
        ConfigurationError: `worker-without-shards`: the worker has no function for shards.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        if NAME not in jobs.worker.tasks:
            raise ConfigurationError(
                f"the worker {jobs.worker.source} can't process shards",
                why="its functions do not include a shard function",
                try_="add shard_function(project, root) from oneoff.integrations.arq to functions",
                code="worker-without-shards",
            )

    async def put(self, shard_id: str, fence: int, attempt: int) -> JobState:
        """Queue a shard unless its job already exists; return where the job is.

        Raises:
            CommandError: The error of Redis; `Unavailable` if it can't be reached.
        """
        from redis.exceptions import RedisError

        from oneoff.redis.errors import translate_redis_error

        self._jobs.must_write(f"queue {NAME}")
        job_id, now = job_id_of(shard_id, fence, attempt), now_ms()
        raw = serialize(self._jobs.worker, NAME, (shard_id,), {}, now)
        client = self._jobs.client
        try:
            if await self._jobs.put(job_id, raw, now, now):
                return JobState.QUEUED
            if not await client.exists(arq_keys.job(job_id)):
                return JobState.BLOCKED
            taken = await client.exists(arq_keys.in_progress(job_id))
        except RedisError as exc:
            raise translate_redis_error(exc) or exc from exc
        return JobState.TAKEN if taken else JobState.QUEUED
