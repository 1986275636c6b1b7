"""Abort a job: remove it from the queue, or ask its worker to stop it.

ARQ's own `Job.abort` moves a deferred job to the front of the queue, so that a worker discards it.
A worker without `allow_abort_jobs` would run it immediately instead.

A worker takes a job in these steps: WATCH `arq:in-progress:<id>`, check that the key does not exist
and that the job is in the queue, MULTI, set the key, EXEC. The functions here use the same key:

- They WATCH it, so their EXEC fails if a worker has taken the job meanwhile. Without this, a
  running job would lose its entry in the queue.
- They write it in their transaction, so the worker's EXEC fails if they were faster. Without this,
  a worker would run a job that was reported as removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError, TemporaryError
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.lookup import find_job
from oneoff.services.jobs.pickles import rewrite
from oneoff.services.jobs.pickles.reader import UnreadableError
from oneoff.services.jobs.queue import Jobs, begin, now_ms
from oneoff.services.jobs.records import JobRecord, JobStatus

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

ATTEMPTS = 5
"""Transactions to try. Each one fails if a worker takes a job meanwhile."""
STOP_TIMEOUT = 10.0
"""Seconds to wait for a worker to stop a job."""
POLL_PAUSE = 0.1  # seconds


async def abort_job(jobs: Jobs, record: JobRecord) -> str:
    """Remove a job from the queue or stop it; return a text that says which.

    Raises:
        CommandError: `job-not-abortable`: it is running, and its worker doesn't allow aborts.
        TemporaryError: `job-still-running`: the worker did not stop it in time.
    """
    jobs.must_write(f"abort {record.id}")
    if record.status is not JobStatus.RUNNING and await _abort_waiting(jobs, record):
        return "it will not run"
    check_abortable(jobs, record)
    await jobs.client.zadd(arq_keys.ABORT, {record.id: now_ms()})
    deadline = monotonic() + STOP_TIMEOUT
    while monotonic() < deadline:
        now = await find_job(jobs, record.id)
        if now is None or now.aborted:
            return "it was stopped while running"
        if now.finished:
            return f"it ended before it could be stopped: {now.status.value}"
        await asyncio.sleep(POLL_PAUSE)
    raise TemporaryError(
        f"job {record.id} is still running {STOP_TIMEOUT:g} s after the request to stop it",
        why="a live worker stops the job when it reads the request",
        try_=(f"python manage.py jobs show {record.id}", "python manage.py jobs stats"),
        code="job-still-running",
    )


def check_abortable(jobs: Jobs, record: JobRecord) -> None:
    """Check that the worker can abort a running job.

    Raises:
        CommandError: `job-not-abortable`.
    """
    if jobs.worker.allow_abort_jobs:
        return
    raise CommandError(
        f"job {record.id} is already running, and its worker can't abort it",
        why=f"{jobs.worker.source} does not set allow_abort_jobs = True",
        try_=(
            f"python manage.py jobs show {record.id}",
            "stop the worker; when it starts again, it runs the job again",
        ),
        code="job-not-abortable",
    )


async def remove_waiting(jobs: Jobs, ids: Sequence[bytes], *, only_expired: bool = False) -> int:
    """Remove jobs from the queue, except those that a worker has taken; return their number.

    Args:
        jobs: The queue.
        ids: At most one page of ids, as stored in Redis.
        only_expired: Keep a job if its `arq:job:<id>` exists: it was queued again meanwhile.
    """
    from redis.exceptions import WatchError

    jobs.must_write("remove jobs")
    for _ in range(ATTEMPTS):
        async with jobs.client.pipeline(transaction=True) as pipe:
            await pipe.watch(*arq_keys.keys(arq_keys.IN_PROGRESS, ids))
            waiting = await _waiting(pipe, ids, only_expired=only_expired)
            if not waiting:
                return 0
            begin(pipe)
            for job_id in waiting:
                _remove(pipe, jobs.worker.queue, job_id)
            try:
                await pipe.execute()
            except WatchError:  # a worker took one of them: read again which ones wait
                continue
            return len(waiting)
    return 0


async def _waiting(pipe: Pipeline, ids: Sequence[bytes], *, only_expired: bool) -> list[bytes]:
    """Return the ids of jobs that no worker has taken. Call this between WATCH and MULTI."""
    marks = await pipe.mget(arq_keys.keys(arq_keys.IN_PROGRESS, ids))
    waiting = [job_id for job_id, mark in zip(ids, marks, strict=True) if mark is None]
    if not only_expired or not waiting:
        return waiting
    raws = await pipe.mget(arq_keys.keys(arq_keys.JOB, waiting))
    return [job_id for job_id, raw in zip(waiting, raws, strict=True) if raw is None]


async def _abort_waiting(jobs: Jobs, record: JobRecord) -> bool:
    """Remove a job from the queue and store ARQ's result for it; return False if it is running."""
    from redis.exceptions import WatchError

    job_id = record.id.encode()
    for _ in range(ATTEMPTS):
        async with jobs.client.pipeline(transaction=True) as pipe:
            # Watch the job too: its bytes become the result, so they must not change meanwhile.
            await pipe.watch(arq_keys.in_progress(job_id), arq_keys.job(job_id))
            if not await _waiting(pipe, [job_id], only_expired=False):
                return False
            raw = await pipe.get(arq_keys.job(job_id))
            begin(pipe)
            _remove(pipe, jobs.worker.queue, job_id)
            result = _aborted_result(jobs, record, raw) if raw else None
            if result:
                seconds = jobs.worker.keep_result
                expires_ms = round(seconds * 1000) if seconds else None
                pipe.set(arq_keys.result(job_id), result, px=expires_ms)
            try:
                await pipe.execute()
            except WatchError:
                continue
            return True
    return False


def _remove(pipe: Pipeline, queue: str, job_id: bytes) -> None:
    """Add the commands that remove a job to a transaction."""
    # WATCH reacts if the key is written, not if a missing key is deleted. So set the mark before
    # deleting it: this makes EXEC fail in a worker that is about to take the job.
    pipe.set(arq_keys.in_progress(job_id), b"1", px=1)
    pipe.delete(arq_keys.in_progress(job_id), arq_keys.job(job_id), arq_keys.retry(job_id))
    pipe.zrem(queue, job_id)
    pipe.zrem(arq_keys.ABORT, job_id)


def _aborted_result(jobs: Jobs, record: JobRecord, raw: bytes) -> bytes | None:
    """Return the result that ARQ would store for an aborted job.

    None if the worker keeps no results, or if the job's pickle can't be read.
    """
    worker, now, error = jobs.worker, now_ms(), asyncio.CancelledError()
    if worker.keep_result == 0:
        return None
    if worker.deserializer is None and worker.serializer is None:
        ending = {"t": record.tries, "s": False, "r": error, "st": now, "ft": now}
        try:
            return rewrite.result_of_job(raw, {**ending, "q": worker.queue, "id": record.id})
        except UnreadableError:
            return None
    from arq.jobs import serialize_result

    return serialize_result(
        function=record.function,
        args=record.args,
        kwargs=dict(record.kwargs),
        job_try=record.tries,
        enqueue_time_ms=round(record.enqueued.timestamp() * 1000) if record.enqueued else now,
        success=False,
        result=error,
        start_ms=now,
        finished_ms=now,
        ref=record.id,
        queue_name=worker.queue,
        job_id=record.id,
        serializer=worker.serializer,
    )
