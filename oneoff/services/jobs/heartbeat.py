"""Read the worker's heartbeat, which ARQ writes to Redis at every interval."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.jobs.worker_settings import WorkerSpec

if TYPE_CHECKING:
    from redis.asyncio import Redis

_COUNTER = re.compile(r"(?:j_)?(complete|failed|retried|ongoing|queued)=([0-9]{1,15})(?![0-9])")
_GRACE = 1.0
"""Seconds after the end of its interval for which ARQ keeps a heartbeat."""


class Heartbeat(NamedTuple):
    """The last report of a worker.

    Attributes:
        age: Seconds since the report; at most `interval` + 1.
        interval: Seconds between two heartbeats.
        complete: Jobs this worker has completed since it started.
        failed: Jobs that failed.
        retried: Tries that will be repeated.
        ongoing: Jobs that were running at the time of the report.
        queued: Entries of the queue at the time of the report.
    """

    age: float
    interval: float
    complete: int = 0
    failed: int = 0
    retried: int = 0
    ongoing: int = 0
    queued: int = 0


async def read_heartbeat(client: Redis, worker: WorkerSpec) -> Heartbeat | None:
    """Return the last heartbeat of a worker; None if there is none.

    A heartbeat expires one second after the next one is due. All workers of a queue share it.
    """
    async with client.pipeline(transaction=False) as pipe:
        pipe.get(worker.health_check_key)
        pipe.pttl(worker.health_check_key)
        text, left_ms = await pipe.execute()
    if text is None:
        return None
    counters = {name: int(count) for name, count in _COUNTER.findall(text.decode(errors="replace"))}
    # The time in the text has no year and no time zone. The remaining time to live of the key
    # gives the exact age.
    age = worker.health_check_interval + _GRACE - max(left_ms, 0) / 1000
    return Heartbeat(age=max(round(age, 1), 0.0), interval=worker.health_check_interval, **counters)
