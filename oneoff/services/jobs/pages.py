"""Read the queue and the keys of results in pages: bounded memory, and short commands.

ARQ's own `queued_jobs()` asks for each job by itself and fails when one has expired;
`all_job_results()` uses KEYS, which blocks the server until it has looked at all keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.queue import Jobs
from oneoff.services.jobs.records import count_of

PAGE = 1000
"""Entries of a queue, or values, that are requested at once."""
SCAN_COUNT = 1000
"""Keys that the server looks at in one SCAN: about 1 ms."""


class QueueEntry(NamedTuple):
    """One member of the queue.

    Attributes:
        id: The job's, as it is in Redis.
        due_ms: When it may start.
        raw: The job; None if it has expired.
        running: Whether a worker has it.
        tries: How often it has been started.
    """

    id: bytes
    due_ms: float
    raw: bytes | None
    running: bool
    tries: int


async def queue_pages(
    jobs: Jobs, *, first: int = 0, size: int | None = None, with_tries: bool = True
) -> AsyncIterator[list[QueueEntry]]:
    """Yield the queue by due time, in pages of at most `PAGE`.

    Pages are requested by rank: the server finds a rank without counting through the entries
    before it, which LIMIT with an offset would make it do.
    """
    size = min(size or PAGE, PAGE)
    while True:
        members = await jobs.client.zrange(
            jobs.worker.queue, first, first + size - 1, withscores=True
        )
        if not members:
            return
        yield await read_entries(jobs, members, with_tries=with_tries)
        first += size


async def read_entries(
    jobs: Jobs, members: Sequence[tuple[bytes, float]], *, with_tries: bool
) -> list[QueueEntry]:
    """Read the jobs, marks and counters of members of the queue, given with their scores."""
    ids = [job_id for job_id, _ in members]
    marks = arq_keys.keys(arq_keys.IN_PROGRESS, ids)
    async with jobs.client.pipeline(transaction=False) as pipe:
        # Few jobs run at a time: in most pages one EXISTS saves an MGET of 1,000 keys.
        pipe.exists(*marks)
        pipe.mget(arq_keys.keys(arq_keys.JOB, ids))
        if with_tries:
            pipe.mget(arq_keys.keys(arq_keys.RETRY, ids))
        any_running, raws, *counters = await pipe.execute()
    running = await jobs.mget(marks) if any_running else [None] * len(ids)
    tries = counters[0] if counters else [None] * len(ids)
    return [
        QueueEntry(job_id, due, raw, mark is not None, count_of(count))
        for (job_id, due), raw, mark, count in zip(members, raws, running, tries, strict=True)
    ]


async def result_pages(jobs: Jobs) -> AsyncIterator[tuple[list[bytes], bool]]:
    """Yield the keys of results, of every queue, and whether the SCAN has ended.

    The keys have no order, a page may be empty, and SCAN can return a key twice.
    """
    cursor, ended = 0, False
    while not ended:
        cursor, keys = await jobs.client.scan(cursor, match=f"{arq_keys.RESULT}*", count=SCAN_COUNT)
        ended = int(cursor) == 0
        yield keys, ended
