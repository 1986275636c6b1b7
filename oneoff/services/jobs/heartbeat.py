"""The worker's sign of life: ARQ leaves one in Redis at every interval."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.jobs.worker_settings import WorkerSpec, load_worker

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.core.project import Project

_COUNTER = re.compile(r"(?:j_)?(complete|failed|retried|ongoing|queued)=([0-9]{1,15})(?![0-9])")
_GRACE = 1.0
"""Seconds by which ARQ lets the sign outlive its interval."""


class Heartbeat(NamedTuple):
    """What a worker last said of itself.

    Attributes:
        age: Seconds since then; at most `interval` and one.
        interval: Seconds between two signs.
        complete: Jobs this worker has completed since it started.
        failed: Jobs that failed.
        retried: Tries that are to be repeated.
        ongoing: Jobs that ran at that moment.
        queued: Members of the queue at that moment.
    """

    age: float
    interval: float
    complete: int = 0
    failed: int = 0
    retried: int = 0
    ongoing: int = 0
    queued: int = 0


async def read_heartbeat(client: Redis, project: Project) -> Heartbeat | None:
    """Return the last sign of life of the project's worker; None if there is none.

    A sign vanishes one second after the next one was due. Several workers of one queue share it.

    Raises:
        ConfigurationError: The project names no worker, or one that can't be used.
    """
    return await heartbeat_of(client, load_worker(project))


async def heartbeat_of(client: Redis, worker: WorkerSpec) -> Heartbeat | None:
    """Return the last sign of life of a worker."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.get(worker.health_check_key)
        pipe.pttl(worker.health_check_key)
        text, left_ms = await pipe.execute()
    if text is None:
        return None
    counters = {name: int(count) for name, count in _COUNTER.findall(text.decode(errors="replace"))}
    # Its own time has neither year nor zone; what is left of its life is exact.
    age = worker.health_check_interval + _GRACE - max(left_ms, 0) / 1000
    return Heartbeat(age=max(round(age, 1), 0.0), interval=worker.health_check_interval, **counters)
