"""Read the queue and the keys of results in pages, with bounded memory and short commands.

ARQ's own `queued_jobs()` sends one command for each job and fails if a job has expired. Its
`all_job_results()` uses KEYS, which blocks the server until it has checked all keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.queue import Jobs
from oneoff.services.jobs.records import count_of

PAGE = 1000
"""Entries of a queue, or values, that one command requests."""
SCAN_COUNT = 1000
"""Keys that the server checks in one SCAN, which takes about 1 ms."""


class QueueEntry(NamedTuple):
    """One member of the queue.

    Attributes:
        id: Id of the job, as stored in Redis.
        due_ms: When it may start, in milliseconds since 1970.
        raw: Bytes of the job; None if it has expired.
        running: Whether a worker has taken it.
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
    """Yield the queue by due time, in pages of at most `PAGE` entries."""
    # Pages are requested by rank, which the server finds directly. With LIMIT and an offset, it
    # would count through all entries before the page.
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
    """Read the jobs, marks and counters of members of the queue, which come with their scores."""
    ids = [job_id for job_id, _ in members]
    marks = arq_keys.keys(arq_keys.IN_PROGRESS, ids)
    async with jobs.client.pipeline(transaction=False) as pipe:
        # Few jobs run at a time, so for most pages one EXISTS saves an MGET of 1,000 keys.
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
    """Yield pages of keys of results of every queue, and whether the SCAN has ended.

    The keys have no order, a page may be empty, and SCAN can return a key twice.
    """
    cursor, ended = 0, False
    while not ended:
        cursor, keys = await jobs.client.scan(cursor, match=f"{arq_keys.RESULT}*", count=SCAN_COUNT)
        ended = int(cursor) == 0
        yield keys, ended
