"""Take jobs out of the queue before a worker has them, and abort one that runs.

ARQ's own `Job.abort` moves a deferred job to the front of the queue, for a worker to throw it
away: one that doesn't allow aborts would run it at once.
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
"""How often to look again when a worker took a job in between."""
PATIENCE = 10.0
"""Seconds a worker is given to abort a job."""
POLL_PAUSE = 0.1


async def abort_job(jobs: Jobs, record: JobRecord) -> str:
    """Keep a job from running, or stop it; return what was done.

    Raises:
        CommandError: `job-not-abortable`: it runs, and its worker doesn't allow aborts.
        TemporaryError: `job-still-running`: the worker has not stopped it in time.
    """
    jobs.must_write(f"abort {record.id}")
    if record.status is not JobStatus.RUNNING and await _cancel_one(jobs, record):
        return "it will not run"
    check_abortable(jobs, record)
    await jobs.client.zadd(arq_keys.ABORT, {record.id: now_ms()})
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        now = await find_job(jobs, record.id)
        if now is None or now.aborted:
            return "it was stopped while it ran"
        if now.finished:
            return f"it ended before it could be stopped: {now.status.value}"
        await asyncio.sleep(POLL_PAUSE)
    raise TemporaryError(
        f"job {record.id} still runs {PATIENCE:g} s after it was asked to stop",
        why="the worker stops it as soon as it sees the request, if it is alive",
        try_=(f"python manage.py jobs show {record.id}", "python manage.py jobs stats"),
        code="job-still-running",
    )


def check_abortable(jobs: Jobs, record: JobRecord) -> None:
    """Refuse to abort a running job if its worker would not.

    Raises:
        CommandError: `job-not-abortable`.
    """
    if jobs.worker.allow_abort_jobs:
        return
    raise CommandError(
        f"job {record.id} runs already, and its worker can't abort it",
        why=f"{jobs.worker.source} does not say allow_abort_jobs = True",
        try_=(
            f"python manage.py jobs show {record.id}",
            "stop the worker: it runs the job again when it is back",
        ),
        code="job-not-abortable",
    )


async def cancel_waiting(jobs: Jobs, ids: Sequence[bytes], *, only_dead: bool = False) -> int:
    """Take several jobs out of the queue, but for those a worker has; return how many.

    Args:
        jobs: The queue.
        ids: As they are in Redis; a page of them.
        only_dead: Spare a job that has not expired after all.
    """
    from redis.exceptions import WatchError

    jobs.must_write("remove jobs")
    for _ in range(ATTEMPTS):
        async with jobs.client.pipeline(transaction=True) as pipe:
            await pipe.watch(*(_key(arq_keys.IN_PROGRESS, job_id) for job_id in ids))
            free = await _free(pipe, ids, only_dead=only_dead)
            if not free:
                return 0
            begin(pipe)
            for job_id in free:
                _take_out(pipe, jobs.worker.queue, job_id)
            try:
                await pipe.execute()
            except WatchError:  # a worker took one of them: look again which are left
                continue
            return len(free)
    return 0


async def _free(pipe: Pipeline, ids: Sequence[bytes], *, only_dead: bool) -> list[bytes]:
    taken = await pipe.mget([_key(arq_keys.IN_PROGRESS, job_id) for job_id in ids])
    free = [job_id for job_id, mark in zip(ids, taken, strict=True) if mark is None]
    if not only_dead or not free:
        return free
    raws = await pipe.mget([_key(arq_keys.JOB, job_id) for job_id in free])
    return [job_id for job_id, raw in zip(free, raws, strict=True) if raw is None]


async def _cancel_one(jobs: Jobs, record: JobRecord) -> bool:
    """Take a job out of the queue, leaving the result that ARQ would leave; False if it runs."""
    from redis.exceptions import WatchError

    job_id = record.id.encode()
    for _ in range(ATTEMPTS):
        async with jobs.client.pipeline(transaction=True) as pipe:
            await pipe.watch(_key(arq_keys.IN_PROGRESS, job_id), _key(arq_keys.JOB, job_id))
            if not await _free(pipe, [job_id], only_dead=False):
                return False
            raw = await pipe.get(_key(arq_keys.JOB, job_id))
            begin(pipe)
            _take_out(pipe, jobs.worker.queue, job_id)
            result = _aborted_result(jobs, record, raw) if raw else None
            if result:
                kept = jobs.worker.keep_result
                pipe.set(
                    arq_keys.result(record.id), result, px=round(kept * 1000) if kept else None
                )
            try:
                await pipe.execute()
            except WatchError:
                continue
            return True
    return False


def _take_out(pipe: Pipeline, queue: str, job_id: bytes) -> None:
    # A worker that is just about to take the job watches this key: touching it makes it let go.
    pipe.set(_key(arq_keys.IN_PROGRESS, job_id), b"1", px=1)
    pipe.delete(
        *(_key(prefix, job_id) for prefix in (arq_keys.IN_PROGRESS, arq_keys.JOB, arq_keys.RETRY)),
    )
    pipe.zrem(queue, job_id)
    pipe.zrem(arq_keys.ABORT, job_id)


def _aborted_result(jobs: Jobs, record: JobRecord, raw: bytes) -> bytes | None:
    """Return what ARQ keeps of an aborted job; None where nothing is kept, or can be made."""
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


def _key(prefix: str, job_id: bytes) -> bytes:
    return prefix.encode() + job_id
