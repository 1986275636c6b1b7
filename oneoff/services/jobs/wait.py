"""Wait until a job has ended."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from oneoff.core.errors import CommandError, TemporaryError, UsageError
from oneoff.runtime import signals
from oneoff.runtime.error_translation import UnexpectedError, explain
from oneoff.services.jobs.lookup import find_job
from oneoff.services.jobs.queue import Jobs
from oneoff.services.jobs.records import JobRecord, JobStatus
from oneoff.services.jobs.worker_settings import Task
from oneoff.services.maintenance.redis_copy import announced_window

if TYPE_CHECKING:
    from oneoff.config.settings import Config

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between two polls

_log = structlog.get_logger(__name__)


async def wait_for_end(jobs: Jobs, config: Config, job_id: str) -> JobRecord:
    """Poll Redis until the job has ended, and return its record.

    Args:
        jobs: The queue.
        config: Used with `project` to find out whether maintenance pauses the workers.
        project: The project of the queue.
        job_id: The job to wait for.

    Raises:
        TemporaryError: `job-still-running`: the run reached its deadline. The job is not stopped.
        CommandError: `job-lost`: the job was removed. Also a signal or an error of Redis; its
            message has the id of the job and says how to wait for the job again.
    """
    try:
        if await announced_window(jobs.client, config):
            _log.warning("jobs.paused", job_id=job_id, reason="maintenance is on")
        return await _poll(jobs, job_id)
    except RedisError as exc:
        raise _interrupted(job_id, explain(exc)) from exc
    except asyncio.CancelledError as exc:
        # A signal and the deadline of the run both arrive as a cancellation.
        if signals.received():
            raise _interrupted(job_id, explain(exc)) from None
        paused = await announced_window(jobs.client, config) is not None
        raise _still_running(job_id, paused=paused) from None


def _interrupted(job_id: str, error: CommandError) -> CommandError:
    """Add the job's id to the error: without it, the same command would queue another job."""
    error.why = f"job {job_id} stays in the queue, or continues to run"
    error.try_ = (_how_to_wait(job_id), *error.try_)
    return error


def _how_to_wait(job_id: str) -> str:
    return (
        f"add --job-id={shlex.quote(job_id)} to wait for this job again; "
        "without it another job is queued"
    )


def _still_running(job_id: str, *, paused: bool) -> TemporaryError:
    why, look = "only a running worker can execute it", "python manage.py jobs stats"
    if paused:
        why = "maintenance is on, and workers take no jobs until it ends"
        look = "python manage.py system maintenance status"
    return TemporaryError(
        f"job {job_id} has not ended within --timeout",
        why=f"it stays in the queue, or continues to run; {why}",
        try_=(
            _how_to_wait(job_id),
            f"python manage.py jobs show {job_id}",
            look,
        ),
        code="job-still-running",
    )


async def _poll(jobs: Jobs, job_id: str) -> JobRecord:
    pause = FIRST_PAUSE
    while True:
        record = await find_job(jobs, job_id)
        if record is None:
            raise CommandError(
                f"job {job_id} is not in the queue and has no result",
                why="it was aborted or purged, or the worker uses other settings than this process",
                try_="python manage.py jobs list",
                code="job-lost",
            )
        if record.status not in {JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.DEFERRED}:
            return record
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _command_error(error: BaseException | None) -> CommandError | None:
    """Return the command error for an exception; None if it has no exit code of its own."""
    # `explain` would report a timeout or a cancellation of the task as if the run had one.
    if error is None or isinstance(error, TimeoutError | asyncio.CancelledError):
        return None
    explained = explain(error)
    return None if isinstance(explained, UnexpectedError) else explained


def check_keeps_result(task: Task) -> None:
    """Check that the worker keeps the result of a task.

    Raises:
        UsageError: The worker keeps no result of this function.
    """
    if task.keep_result == 0:
        raise UsageError(
            f"{task.name} keeps no result, so there is nothing to wait for",
            try_=(
                f"run it in this process: python manage.py jobs run {task.name} --inline",
                "give the function keep_result=60",
            ),
            code="no-result-to-wait-for",
        )


def require_completed(
    record: JobRecord, *, try_: str | Sequence[str], error: BaseException | None = None
) -> JobRecord:
    """Return the record of a completed job; raise an error for a failed one.

    Args:
        record: Record of a job that has ended.
        try_: Advice for a failed job.
        error: The exception that it failed with, if it ran in this process.

    Raises:
        CommandError: `job-failed`, with the record as its data. If `error` has its own exit code,
            then `error` instead.
    """
    if record.status is JobStatus.COMPLETED:
        return record
    if command_error := _command_error(error):
        if command_error.data is None:
            command_error.data = record.details()
        raise command_error from error
    raise CommandError(
        f"job {record.id} {record.status.value}: {record.error or 'it expired'}",
        why=f"{record.function or 'it'} ended at try {record.tries}",
        try_=try_,
        code="job-failed",
        data=record.details(),
    )
