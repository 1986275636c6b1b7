"""Find, list and count jobs."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from oneoff.core.errors import NotFound
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.pages import SCAN_COUNT, QueueEntry, queue_pages, result_pages
from oneoff.services.jobs.queue import Jobs, now_ms
from oneoff.services.jobs.records import (
    JobRecord,
    JobStatus,
    count_of,
    ended_record,
    ending_of,
    function_of,
    queued_record,
)

ENOUGH_KEYS = 2000
"""Keys of the server to check before `list_jobs` may stop without having read all results."""

IN_QUEUE = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.DEFERRED, JobStatus.EXPIRED)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.UNREADABLE)


class JobList(NamedTuple):
    """Some jobs.

    Attributes:
        jobs: Jobs in the queue by due time, then ended jobs, newest first.
        in_queue: Number of jobs in the queue.
        all_seen: False if `jobs` has results, but newer ones may be missing.
    """

    jobs: list[JobRecord]
    in_queue: int
    all_seen: bool


async def list_jobs(jobs: Jobs, statuses: Collection[JobStatus], limit: int) -> JobList:
    """Return at most `limit` jobs in one of these states."""
    found = await _in_queue(jobs, statuses, limit)
    all_seen = True
    if len(found) < limit and set(statuses) & set(ENDED):
        ended, all_seen = await _ended(jobs, statuses, limit - len(found))
        found += ended
    return JobList(found, await jobs.client.zcard(jobs.worker.queue), all_seen)


async def find_job(jobs: Jobs, job_id: str) -> JobRecord | None:
    """Return one job, or None if Redis has neither the job nor its result."""
    async with jobs.client.pipeline(transaction=False) as pipe:
        pipe.get(arq_keys.result(job_id))
        pipe.get(arq_keys.job(job_id))
        pipe.zscore(jobs.worker.queue, job_id)
        pipe.exists(arq_keys.in_progress(job_id))
        pipe.get(arq_keys.retry(job_id))
        ended, raw, due, running, tries = await pipe.execute()
    if ended is not None:
        return ended_record(job_id, ended, jobs.worker.deserializer, jobs.worker.queue)
    if due is None:
        return None
    entry = QueueEntry(job_id.encode(), due, raw, bool(running), count_of(tries))
    return _record(jobs, entry, now_ms())


async def get_job(jobs: Jobs, job_id: str) -> JobRecord:
    """Return one job.

    Raises:
        NotFound: Redis has neither the job nor its result.
    """
    record = await find_job(jobs, job_id)
    if record is None:
        raise NotFound(
            f"there is no job {job_id!r}",
            why="it was never queued, its result has expired, or it was purged",
            try_="python manage.py jobs list",
            code="job-not-found",
        )
    return record


class Stats:
    """Jobs by function and state."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, JobStatus]] = Counter()
        self.oldest_due_ms: float | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each function, sorted by name, and a row for all of them."""
        names = sorted({function for function, _ in self.counts})
        rows = [self._row(name or "(unreadable)", [name]) for name in names]
        return [*rows, self._row("(all)", names)]

    def _row(self, title: str, names: Sequence[str]) -> dict[str, Any]:
        counts = {
            status.value: sum(self.counts[name, status] for name in names) for status in JobStatus
        }
        return {"function": title, **counts}


async def count_jobs(jobs: Jobs) -> Stats:
    """Count all jobs."""
    stats, now, read = Stats(), now_ms(), jobs.worker.deserializer
    async for page in queue_pages(jobs, with_tries=False):
        for entry in page:
            status = _status(entry, now)
            function = "" if entry.raw is None else function_of(entry.raw, read)
            stats.counts[function, status] += 1
            if status is JobStatus.QUEUED and stats.oldest_due_ms is None:
                stats.oldest_due_ms = entry.due_ms
    async for keys, _ in result_pages(jobs):
        for raw in await jobs.mget(keys):
            if raw is not None:
                stats.counts[function_of(raw, read), ending_of(raw, read).status] += 1
    return stats


async def _in_queue(jobs: Jobs, statuses: Collection[JobStatus], limit: int) -> list[JobRecord]:
    wanted, now = set(statuses) & set(IN_QUEUE), now_ms()
    if not wanted:
        return []
    found: list[JobRecord] = []
    first = 0
    if wanted == {JobStatus.DEFERRED}:  # deferred jobs are last in the queue: skip the due ones
        first = await jobs.client.zcount(jobs.worker.queue, "-inf", now)
    size = limit if len(wanted) == len(IN_QUEUE) else None
    async for page in queue_pages(jobs, first=first, size=size):
        entries = [entry for entry in page if _status(entry, now) in wanted]
        found += [_record(jobs, entry, now) for entry in entries[: limit - len(found)]]
        # The queue is ordered by due time: after a deferred entry, only deferred or expired follow.
        none_follow = JobStatus.DEFERRED not in wanted and page[-1].due_ms > now
        if len(found) >= limit or (none_follow and JobStatus.EXPIRED not in wanted):
            break
    return found


async def _ended(
    jobs: Jobs, statuses: Collection[JobStatus], limit: int
) -> tuple[list[JobRecord], bool]:
    """Return the newest results, and whether all results were read."""
    # Redis does not order results, so the newest are known only after reading all of them. With
    # many keys, stop after ENOUGH_KEYS and return the newest results found so far.
    newest: list[tuple[int, bytes, bytes]] = []
    kept: set[bytes] = set()
    looked_at, scan_ended = 0, True
    async for keys, scan_ended in result_pages(jobs):  # noqa: B007 - used after the loop
        looked_at += SCAN_COUNT
        await _keep_newest(jobs, keys, statuses, limit, newest, kept)
        if looked_at >= ENOUGH_KEYS and len(newest) >= limit:
            break
    records = [
        ended_record(arq_keys.id_of_result(key), raw, jobs.worker.deserializer, jobs.worker.queue)
        for _, key, raw in sorted(newest, reverse=True)
    ]
    return records, scan_ended


async def _keep_newest(  # noqa: PLR0917
    jobs: Jobs,
    keys: Sequence[bytes],
    statuses: Collection[JobStatus],
    limit: int,
    newest: list[tuple[int, bytes, bytes]],
    kept: set[bytes],
) -> None:
    """Add results to a heap of the newest `limit` results.

    Args:
        jobs: The queue.
        keys: Keys of the results to add.
        statuses: Ignore results with another status.
        limit: Size of the heap.
        newest: The heap; changed in place.
        kept: The keys in the heap, because SCAN can return a key twice; changed in place.
    """
    for key, raw in zip(keys, await jobs.mget(keys), strict=True):
        if raw is None or key in kept:
            continue
        ending = ending_of(raw, jobs.worker.deserializer)
        if ending.status not in statuses:
            continue
        kept.add(key)
        if len(newest) < limit:
            heapq.heappush(newest, (ending.finished_ms, key, raw))
        else:
            kept.discard(heapq.heappushpop(newest, (ending.finished_ms, key, raw))[1])


def _status(entry: QueueEntry, now: int) -> JobStatus:
    if entry.running:
        return JobStatus.RUNNING
    if entry.raw is None:
        return JobStatus.EXPIRED
    return JobStatus.DEFERRED if entry.due_ms > now else JobStatus.QUEUED


def _record(jobs: Jobs, entry: QueueEntry, now: int) -> JobRecord:
    return queued_record(
        entry.id.decode(errors="backslashreplace"),
        entry.raw,
        jobs.worker.deserializer,
        status=_status(entry, now),
        queue=jobs.worker.queue,
        due_ms=entry.due_ms,
        tries=entry.tries,
    )
