"""List jobs in pages: constant memory, and no command that holds up the server.

ARQ's own `queued_jobs()` asks for each job by itself and fails when one has expired;
`all_job_results()` uses KEYS.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, NamedTuple

from oneoff.core.errors import NotFound
from oneoff.services.jobs import arq_keys
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

PAGE = 1000
"""Members of a queue, or values, that are asked for at once."""
SCAN_COUNT = 1000
"""Keys the server looks at in one step: about 1 ms."""
ENOUGH_KEYS = 2000
"""Keys that are looked at before a list of results may stop at the first it finds."""

IN_QUEUE = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.DEFERRED, JobStatus.EXPIRED)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.UNREADABLE)


class Listing(NamedTuple):
    """Some jobs.

    Attributes:
        jobs: Those in the queue by due time, then those that have ended, the newest first.
        in_queue: How many the queue holds.
        all_seen: Whether no result was left out that could be newer than one shown.
    """

    jobs: list[JobRecord]
    in_queue: int
    all_seen: bool


class Waiting(NamedTuple):
    """One member of the queue.

    Attributes:
        id: As it is in Redis.
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


async def list_jobs(jobs: Jobs, statuses: Collection[JobStatus], limit: int) -> Listing:
    """Return at most `limit` jobs in one of these states."""
    found = await _in_queue(jobs, statuses, limit)
    all_seen = True
    if len(found) < limit and set(statuses) & set(ENDED):
        ended, all_seen = await _ended(jobs, statuses, limit - len(found))
        found += ended
    return Listing(found, await jobs.client.zcard(jobs.worker.queue), all_seen)


async def find_job(jobs: Jobs, job_id: str) -> JobRecord | None:
    """Return one job, or None if Redis does not know it."""
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
    waiting = Waiting(job_id.encode(), due, raw, bool(running), count_of(tries))
    return _record(jobs, waiting, now_ms())


async def get_job(jobs: Jobs, job_id: str) -> JobRecord:
    """Return one job.

    Raises:
        NotFound: Redis does not know it.
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
        """Return one row a function, by name, and one for all."""
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
    async for page in waiting_pages(jobs, with_tries=False):
        for member in page:
            status = _status(member, now)
            function = "" if member.raw is None else function_of(member.raw, read)
            stats.counts[function, status] += 1
            if status is JobStatus.QUEUED and stats.oldest_due_ms is None:
                stats.oldest_due_ms = member.due_ms
    async for found in result_pages(jobs):
        for raw in await jobs.mget(found):
            if raw is not None:
                stats.counts[function_of(raw, read), ending_of(raw, read).status] += 1
    return stats


async def waiting_pages(
    jobs: Jobs, *, first: int = 0, with_tries: bool = True, size: int = PAGE
) -> AsyncIterator[list[Waiting]]:
    """Yield the queue by due time, in pages.

    Pages are asked for by rank, which the server finds without counting through those before.
    """
    while True:
        members = await jobs.client.zrange(
            jobs.worker.queue, first, first + size - 1, withscores=True
        )
        if not members:
            return
        yield await read_page(jobs, members, with_tries=with_tries)
        first += size


async def result_pages(jobs: Jobs) -> AsyncIterator[list[bytes]]:
    """Yield the keys of results, of every queue, in no order; at most `PAGE` at once.

    The server may name a key twice.
    """
    async for found, _ in _scan(jobs):
        for at in range(0, len(found), PAGE):
            yield found[at : at + PAGE]


async def _scan(jobs: Jobs) -> AsyncIterator[tuple[list[bytes], bool]]:
    """Yield what each step of a SCAN finds, and whether it was the last."""
    cursor, last = 0, False
    while not last:
        cursor, found = await jobs.client.scan(
            cursor, match=f"{arq_keys.RESULT}*", count=SCAN_COUNT
        )
        last = int(cursor) == 0
        yield found, last


async def read_page(
    jobs: Jobs, members: Sequence[tuple[bytes, float]], *, with_tries: bool
) -> list[Waiting]:
    """Read what stands behind members of the queue and their scores."""
    ids = [job_id for job_id, _ in members]
    marks = [_key(arq_keys.IN_PROGRESS, job_id) for job_id in ids]
    async with jobs.client.pipeline(transaction=False) as pipe:
        pipe.exists(*marks)
        pipe.mget([_key(arq_keys.JOB, job_id) for job_id in ids])
        if with_tries:
            pipe.mget([_key(arq_keys.RETRY, job_id) for job_id in ids])
        any_taken, raws, *rest = await pipe.execute()
    taken = await jobs.mget(marks) if any_taken else [None] * len(ids)
    tries = rest[0] if rest else [None] * len(ids)
    return [
        Waiting(job_id, due, raw, mark is not None, count_of(count))
        for (job_id, due), raw, mark, count in zip(members, raws, taken, tries, strict=True)
    ]


def _key(prefix: str, job_id: bytes) -> bytes:
    return prefix.encode() + job_id


async def _in_queue(jobs: Jobs, statuses: Collection[JobStatus], limit: int) -> list[JobRecord]:
    wanted, now = set(statuses) & set(IN_QUEUE), now_ms()
    if not wanted:
        return []
    found: list[JobRecord] = []
    # Whoever wants deferred jobs alone need not read the others, which come first.
    first = await _due(jobs, now) if wanted == {JobStatus.DEFERRED} else 0
    size = min(limit, PAGE) if len(wanted) == len(IN_QUEUE) else PAGE
    async for page in waiting_pages(jobs, first=first, size=size):
        members = [member for member in page if _status(member, now) in wanted]
        found += [_record(jobs, member, now) for member in members[: limit - len(found)]]
        none_follow = JobStatus.DEFERRED not in wanted and page[-1].due_ms > now
        if len(found) >= limit or (none_follow and JobStatus.EXPIRED not in wanted):
            break
    return found


async def _due(jobs: Jobs, now: int) -> int:
    count: int = await jobs.client.zcount(jobs.worker.queue, "-inf", now)
    return count


async def _ended(
    jobs: Jobs, statuses: Collection[JobStatus], limit: int
) -> tuple[list[JobRecord], bool]:
    """Return the newest results, and whether all were looked at.

    Redis keeps no order of them: to know the newest is to read all. So with many keys the list is
    made of those that come first, and says so.
    """
    newest: list[tuple[int, bytes, bytes]] = []
    kept: set[bytes] = set()
    looked_at, last = 0, True
    async for found, last in _scan(jobs):  # noqa: B007 - `last` is asked for below
        looked_at += SCAN_COUNT
        for at in range(0, len(found), PAGE):
            await _keep_newest(jobs, found[at : at + PAGE], statuses, limit, newest, kept)
        if looked_at >= ENOUGH_KEYS and len(newest) >= limit:
            break
    records = [
        ended_record(arq_keys.id_of(key), raw, jobs.worker.deserializer, jobs.worker.queue)
        for _, key, raw in sorted(newest, reverse=True)
    ]
    return records, last


async def _keep_newest(  # noqa: PLR0917
    jobs: Jobs,
    found: Sequence[bytes],
    statuses: Collection[JobStatus],
    limit: int,
    newest: list[tuple[int, bytes, bytes]],
    kept: set[bytes],
) -> None:
    """Add results to a heap of the newest `limit`; `kept` are the keys in it."""
    for key, raw in zip(found, await jobs.mget(found), strict=True):
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


def _status(member: Waiting, now: int) -> JobStatus:
    if member.running:
        return JobStatus.RUNNING
    if member.raw is None:
        return JobStatus.EXPIRED
    return JobStatus.DEFERRED if member.due_ms > now else JobStatus.QUEUED


def _record(jobs: Jobs, member: Waiting, now: int) -> JobRecord:
    return queued_record(
        member.id.decode(errors="backslashreplace"),
        member.raw,
        jobs.worker.deserializer,
        status=_status(member, now),
        queue=jobs.worker.queue,
        due_ms=member.due_ms,
        tries=member.tries,
    )
