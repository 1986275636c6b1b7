"""Queue the shards of a batch as jobs. Redis hands them out, and nothing else about them is in it.

The id of a job is that of the shard with its fence. Every claim raises the fence. So to queue a
shard twice for the same claim makes one job, as ARQ ignores an id that it has already; and after a
claim the next job has another id, which ARQ accepts although the last one is still running.
"""

from __future__ import annotations

from enum import Enum

from oneoff.core.errors import ConfigurationError
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.queue import Jobs, now_ms, serialize

NAME = "oneoff_shard"
TIMEOUT = 290.0
"""Seconds of one try. When a worker dies, ARQ waits for the longest timeout of all functions before
it gives the job to another worker; so this stays below ARQ's default of 300."""
MAX_TRIES = 1_000_000  # a shard is tried again whenever its worker is replaced


class JobState(Enum):
    """Where the job for a shard is."""

    QUEUED = "queued"
    """It waits for a worker."""
    TAKEN = "taken"
    """A worker has it; its run has not claimed the shard yet, or the worker died before."""
    BLOCKED = "blocked"
    """It is not in the queue, and ARQ accepts no job with its id, since it keeps a result."""


def job_id_of(shard_id: str, fence: int, attempt: int = 0) -> str:
    """Return the id of the job for one claim; further attempts for the same claim are numbered."""
    return f"{NAME}:{shard_id}:{fence}" + (f":{attempt}" if attempt else "")


class ShardQueue:
    """The queue of the project's worker, as far as it is for shards.

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

    async def put(self, shard_id: str, fence: int, attempt: int) -> JobState:
        """Queue a shard unless its job exists already; return where the job is.

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
