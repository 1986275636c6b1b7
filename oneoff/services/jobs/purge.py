"""Remove what jobs left: results, and entries of the queue that nothing stands behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.abort import cancel_waiting
from oneoff.services.jobs.lookup import PAGE, Waiting, read_page, result_pages
from oneoff.services.jobs.queue import Jobs, now_ms
from oneoff.services.jobs.records import JobStatus, ending_of
from oneoff.utils.concurrency import together


class Purge(NamedTuple):
    """What to remove.

    Attributes:
        failed_only: Only results of jobs that failed.
        older_than: Only what ended, or was due, this long ago.
        queued: Work that still waits in the queue, too.
    """

    failed_only: bool = False
    older_than: timedelta | None = None
    queued: bool = False

    def before(self) -> int | None:
        """Return the time in milliseconds before which all is old; None for no limit."""
        if self.older_than is None:
            return None
        return now_ms() - round(self.older_than.total_seconds() * 1000)


class Purged(NamedTuple):
    """How much was removed, or would be.

    Attributes:
        results: Of jobs that have ended, of every queue.
        dead: Members of the queue whose job has expired, and marks of aborts nobody waits for.
        queued: Jobs that had not been started.
    """

    results: int
    dead: int
    queued: int


async def purge(jobs: Jobs, what: Purge, *, plan: bool) -> Purged:
    """Remove it in batches, or count what that would be.

    A job that a worker has stays as it is.
    """
    if not plan:
        jobs.must_write("remove jobs")
    # The server looks for results while this process reads the queue, and the other way round.
    of_results, of_queue = await together(
        part(jobs, what, plan=plan) for part in (_results, _waiting)
    )
    marks = 0 if what.failed_only else await _abort_marks(jobs, what, plan=plan)
    return Purged(of_results.results, of_queue.dead + marks, of_queue.queued)


async def _results(jobs: Jobs, what: Purge, *, plan: bool) -> Purged:
    removed, counted = 0, set[int]()
    async for found in result_pages(jobs):
        doomed = await _doomed(jobs, found, what)
        if plan:
            counted.update(map(hash, doomed))  # the server may name a key twice
        elif doomed:
            removed += await jobs.client.unlink(*doomed)
    return Purged(len(counted) if plan else removed, 0, 0)


async def _doomed(jobs: Jobs, found: Sequence[bytes], what: Purge) -> list[bytes]:
    before = what.before()
    if not what.failed_only and before is None:
        return list(found)
    doomed = []
    for key, raw in zip(found, await jobs.mget(found), strict=True):
        if raw is None:
            continue
        ending = ending_of(raw, jobs.worker.deserializer)
        failed = ending.status is JobStatus.FAILED or not what.failed_only
        if failed and (before is None or 0 < ending.finished_ms < before):
            doomed.append(key)
    return doomed


async def _waiting(jobs: Jobs, what: Purge, *, plan: bool) -> Purged:
    dead = queued = at = 0
    size = 0 if what.failed_only else PAGE
    while size == PAGE:
        size, free = await _page(jobs, what, at)
        gone = [one.id for one in free if one.raw is None]
        live = [one.id for one in free if one.raw is not None and what.queued]
        if plan:
            dead_now, queued_now = len(gone), len(live)
        else:
            dead_now = await cancel_waiting(jobs, gone, only_dead=True) if gone else 0
            queued_now = await cancel_waiting(jobs, live) if live else 0
            at -= dead_now + queued_now  # those behind them have moved up
        dead, queued, at = dead + dead_now, queued + queued_now, at + size
    return Purged(0, dead, queued)


async def _page(jobs: Jobs, what: Purge, first: int) -> tuple[int, list[Waiting]]:
    """Return how many members of the queue the page holds, and those that may be removed."""
    last = first + PAGE - 1
    if not what.queued:
        ids = await jobs.client.zrange(jobs.worker.queue, first, last)
        if not ids or await _all_alive(jobs, ids):
            return len(ids), []
    members = await jobs.client.zrange(jobs.worker.queue, first, last, withscores=True)
    if not members:  # at the end, which may be where a full page ended
        return 0, []
    page, before = await read_page(jobs, members, with_tries=False), what.before()
    old = [one for one in page if before is None or one.due_ms < before]
    return len(members), [one for one in old if not one.running]


async def _all_alive(jobs: Jobs, ids: Sequence[bytes]) -> bool:
    """Say whether none of them has expired: in most pages, and then nothing need be read."""
    prefix = arq_keys.JOB.encode()
    names = [prefix + job_id for job_id in ids]
    alive: int = await jobs.client.exists(*names)
    return alive == len(names)


async def _abort_marks(jobs: Jobs, what: Purge, *, plan: bool) -> int:
    """Remove the marks of jobs that are in the queue no more: ARQ itself never does."""
    removed = 0
    stale = [mark async for page in _stale_marks(jobs, what.before()) for mark in page]
    for at in range(0, len(stale), PAGE):
        page = stale[at : at + PAGE]
        removed += len(page) if plan else await jobs.client.zrem(arq_keys.ABORT, *page)
    return removed


async def _stale_marks(jobs: Jobs, before: int | None) -> AsyncIterator[list[bytes]]:
    first = 0
    while marks := await jobs.client.zrange(
        arq_keys.ABORT, first, first + PAGE - 1, withscores=True
    ):
        async with jobs.client.pipeline(transaction=False) as pipe:
            for mark, _ in marks:
                pipe.zscore(jobs.worker.queue, mark)
            due = await pipe.execute()
        yield [
            mark
            for (mark, since), score in zip(marks, due, strict=True)
            if score is None and (before is None or since < before)
        ]
        first += PAGE
