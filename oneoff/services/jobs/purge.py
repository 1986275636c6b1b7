"""Remove results, expired entries of the queue and, if asked for, waiting jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.abort import remove_waiting
from oneoff.services.jobs.pages import PAGE, QueueEntry, read_entries, result_pages
from oneoff.services.jobs.queue import Jobs, now_ms
from oneoff.services.jobs.records import JobStatus, ending_of, queue_of
from oneoff.utils.concurrency import together


class PurgeFilter(NamedTuple):
    """What to remove.

    Attributes:
        failed_only: Only results of failed jobs.
        older_than: Only jobs that ended, or were due, longer ago than this.
        queued: Also jobs that wait in the queue.
    """

    failed_only: bool = False
    older_than: timedelta | None = None
    queued: bool = False

    def before(self) -> int | None:
        """Return the time in milliseconds before which jobs are old; None for no limit."""
        if self.older_than is None:
            return None
        return now_ms() - round(self.older_than.total_seconds() * 1000)


class PurgeCounts(NamedTuple):
    """Numbers of what was removed, or would be removed.

    Attributes:
        results: Results of ended jobs.
        dead: Entries of the queue whose job has expired, and requests to abort a job that no longer
            exists.
        queued: Jobs that waited in the queue.
    """

    results: int
    dead: int
    queued: int


async def purge(jobs: Jobs, what: PurgeFilter, *, plan: bool) -> PurgeCounts:
    """Remove the selected entries in pages, or count them if `plan` is true.

    A job that a worker has taken is not changed. Results and requests to abort of all queues share
    their keys; those of other queues are kept, because other applications may wait for them.
    """
    if not plan:
        jobs.must_write("remove jobs")
    # Run both at the same time: the server scans for results while this process handles the
    # queue, and vice versa.
    of_results, of_queue = await together(
        part(jobs, what, plan=plan) for part in (_purge_results, _purge_queue)
    )
    requests = 0 if what.failed_only else await _purge_abort_requests(jobs, what, plan=plan)
    return PurgeCounts(of_results.results, of_queue.dead + requests, of_queue.queued)


async def _purge_results(jobs: Jobs, what: PurgeFilter, *, plan: bool) -> PurgeCounts:
    removed, planned = 0, set[int]()
    async for keys, _ in result_pages(jobs):
        selected = await _selected_results(jobs, keys, what)
        if plan:
            planned.update(map(hash, selected))  # SCAN can return a key twice
        elif selected:
            removed += await jobs.client.unlink(*selected)
    return PurgeCounts(len(planned) if plan else removed, 0, 0)


async def _selected_results(
    jobs: Jobs, keys: Sequence[bytes], what: PurgeFilter
) -> Sequence[bytes]:
    worker, before = jobs.worker, what.before()
    selected = []
    for key, raw in zip(keys, await jobs.mget(keys), strict=True):
        if raw is None or queue_of(raw, worker.deserializer, worker.queue) != worker.queue:
            continue
        ending = ending_of(raw, worker.deserializer)
        wanted = ending.status is JobStatus.FAILED or not what.failed_only
        # A time of 0 can't be read: the age is not known, so keep the result.
        if wanted and (before is None or 0 < ending.finished_ms < before):
            selected.append(key)
    return selected


async def _purge_queue(jobs: Jobs, what: PurgeFilter, *, plan: bool) -> PurgeCounts:
    dead = queued = first = 0
    size = 0 if what.failed_only else PAGE
    while size == PAGE:
        size, entries = await _removable_entries(jobs, what, first)
        expired = [entry.id for entry in entries if entry.raw is None]
        waiting = [entry.id for entry in entries if entry.raw is not None and what.queued]
        dead_now, queued_now = len(expired), len(waiting)
        first += size
        if not plan:
            dead_now = await remove_waiting(jobs, expired, only_expired=True) if expired else 0
            queued_now = await remove_waiting(jobs, waiting) if waiting else 0
            first -= dead_now + queued_now  # the entries after them have moved up
        dead, queued = dead + dead_now, queued + queued_now
    return PurgeCounts(0, dead, queued)


async def _removable_entries(
    jobs: Jobs, what: PurgeFilter, first: int
) -> tuple[int, list[QueueEntry]]:
    """Return the size of one page of the queue, and its entries that may be removed."""
    last = first + PAGE - 1
    if not what.queued:
        # In most pages no job has expired, so one EXISTS saves reading all of them.
        ids = await jobs.client.zrange(jobs.worker.queue, first, last)
        if not ids or len(ids) == await jobs.client.exists(*arq_keys.keys(arq_keys.JOB, ids)):
            return len(ids), []
    members = await jobs.client.zrange(jobs.worker.queue, first, last, withscores=True)
    if not members:  # the queue ended exactly at the end of the last page
        return 0, []
    entries, before = await read_entries(jobs, members, with_tries=False), what.before()
    old = [entry for entry in entries if before is None or entry.due_ms < before]
    return len(members), [entry for entry in old if not entry.running]


async def _purge_abort_requests(jobs: Jobs, what: PurgeFilter, *, plan: bool) -> int:
    """Remove requests to abort a job that no longer exists; ARQ does not remove them."""
    removed = 0
    stale = [job_id async for page in _stale_requests(jobs, what.before()) for job_id in page]
    for start in range(0, len(stale), PAGE):
        page = stale[start : start + PAGE]
        removed += len(page) if plan else await jobs.client.zrem(arq_keys.ABORT, *page)
    return removed


async def _stale_requests(jobs: Jobs, before: int | None) -> AsyncIterator[list[bytes]]:
    first = 0
    while requests := await jobs.client.zrange(
        arq_keys.ABORT, first, first + PAGE - 1, withscores=True
    ):
        async with jobs.client.pipeline(transaction=False) as pipe:
            for job_id, _ in requests:
                # A job has one of these keys in whichever queue it is.
                pipe.exists(arq_keys.job(job_id), arq_keys.in_progress(job_id))
                pipe.zscore(jobs.worker.queue, job_id)
            answers = iter(await pipe.execute())
        yield [
            job_id
            for (job_id, since), exists, score in zip(requests, answers, answers, strict=True)
            if not exists and score is None and (before is None or since < before)
        ]
        first += PAGE
