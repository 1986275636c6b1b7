"""Wait for the end of a job."""

from __future__ import annotations

import asyncio

from oneoff import signals
from oneoff.arq_jobs.listing import find_job
from oneoff.arq_jobs.queue import Jobs
from oneoff.arq_jobs.records import JobRecord, JobStatus
from oneoff.arq_jobs.worker_settings import Task
from oneoff.errors import CommandError, TemporaryError, UsageError

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5


async def wait_for_end(jobs: Jobs, job_id: str) -> JobRecord:
    """Look for the result of a job until it is there.

    Raises:
        TemporaryError: `job-still-running`: the run's deadline came first. The job goes on.
        CommandError: `job-lost`: somebody removed it.
    """
    try:
        return await _poll(jobs, job_id)
    except asyncio.CancelledError:
        if signals.received():
            raise
        raise TemporaryError(
            f"job {job_id} has not ended within --timeout",
            why="it stays in the queue, or goes on running; a worker has to be there for it",
            try_=(f"python manage.py jobs show {job_id}", "python manage.py jobs stats"),
            code="job-still-running",
        ) from None


async def _poll(jobs: Jobs, job_id: str) -> JobRecord:
    pause = FIRST_PAUSE
    while True:
        record = await find_job(jobs, job_id)
        if record is None:
            raise CommandError(
                f"job {job_id} is neither in the queue nor has it left a result",
                why="it was aborted or purged, or the worker has other settings than this process",
                try_="python manage.py jobs list",
                code="job-lost",
            )
        if record.status not in {JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.DEFERRED}:
            return record
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def check_keeps_result(task: Task) -> None:
    """Refuse to wait for what will not be kept.

    Raises:
        UsageError: The worker keeps no result of this function.
    """
    if task.keep_result == 0:
        raise UsageError(
            f"{task.name} keeps no result, so there is nothing to wait for",
            try_=(
                f"run it here: python manage.py jobs run {task.name} --inline",
                "give the function keep_result=60",
            ),
            code="no-result-to-wait-for",
        )


def outcome(record: JobRecord) -> JobRecord:
    """Return the record of a job that has completed.

    Raises:
        CommandError: `job-failed`: it has not; the record is the error's data.
    """
    if record.status is JobStatus.COMPLETED:
        return record
    raise CommandError(
        f"job {record.id} {record.status.value}: {record.error or 'it expired'}",
        why=f"{record.function or 'it'} ended so at try {record.tries}",
        try_=f"python manage.py jobs show {record.id}",
        code="job-failed",
        data=record.whole(),
    )
