"""Queue a failed job again with the same function and arguments."""

from __future__ import annotations

from oneoff.core.errors import CommandError
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.pickles import rewrite
from oneoff.services.jobs.pickles.reader import UnreadableError
from oneoff.services.jobs.queue import Jobs, begin, now_ms, serialize
from oneoff.services.jobs.records import JobRecord, JobStatus, load


async def retry_job(jobs: Jobs, record: JobRecord) -> bool:
    """Queue a failed job again, with its number of tries reset.

    Returns:
        False if its result no longer exists or it is in the queue: another client was faster.

    Raises:
        CommandError: See `check_retriable`.
    """
    from redis.exceptions import WatchError

    jobs.must_write(f"retry {record.id}")
    check_retriable(jobs, record)
    result_key, job_key = arq_keys.result(record.id), arq_keys.job(record.id)
    async with jobs.client.pipeline(transaction=True) as pipe:
        # Watch the result, so that two retries at the same time do not queue the job twice. Watch
        # the job too: if another client has queued it again and it has ended meanwhile, this
        # retry must not delete the new result.
        await pipe.watch(result_key, job_key)
        raw = await pipe.get(result_key)
        if raw is None or await pipe.exists(job_key):
            return False
        now = now_ms()
        job = _job_from_result(jobs, record, raw, now)
        begin(pipe)
        # The result must go, because a job with a result counts as ended. The counter must go, so
        # that the tries start again. A leftover abort request would make a worker abort the job.
        pipe.delete(result_key, arq_keys.retry(record.id))
        pipe.zrem(arq_keys.ABORT, record.id)
        pipe.psetex(job_key, jobs.worker.expires_extra_ms, job)
        pipe.zadd(jobs.worker.queue, {record.id: now})
        try:
            await pipe.execute()
        except WatchError:
            return False
    return True


def check_retriable(jobs: Jobs, record: JobRecord) -> None:
    """Check that a job can be queued again.

    Raises:
        CommandError: `job-not-failed`, or `job-of-another-queue`.
        UsageError: The worker no longer has the function.
    """
    if record.status is not JobStatus.FAILED:
        raise CommandError(
            f"job {record.id} has not failed: it is {record.status.value}",
            why=record.problem or "only failed jobs can be queued again",
            try_=f"python manage.py jobs show {record.id}",
            code="job-not-failed",
        )
    if record.queue != jobs.worker.queue:
        raise CommandError(
            f"job {record.id} was in the queue {record.queue!r}, not in {jobs.worker.queue!r}",
            why="the worker of that queue may have another function with the same name",
            code="job-of-another-queue",
        )
    jobs.worker.task(record.function)


def _job_from_result(jobs: Jobs, record: JobRecord, raw: bytes, now: int) -> bytes:
    """Return the bytes of the job that a result came from.

    Raises:
        CommandError: `job-not-readable`.
    """
    worker = jobs.worker
    try:
        if worker.deserializer is None and worker.serializer is None:
            return rewrite.job_of_result(raw, now)
        found = load(raw, worker.deserializer)
    except UnreadableError as exc:
        raise CommandError(
            f"job {record.id} can't be queued again: {exc}",
            why="its arguments are stored in a format that this worker doesn't write",
            try_="queue a new job: python manage.py jobs run --help",
            code="job-not-readable",
        ) from exc
    return serialize(worker, found["f"], tuple(found["a"]), dict(found["k"]), now)
