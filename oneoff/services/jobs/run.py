"""Check one call of a task, then queue it or run it in this process, for `jobs run`."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from redis.exceptions import RedisError

from oneoff.core.errors import CommandError, ExitCode, UsageError
from oneoff.core.result import Result
from oneoff.runtime import signals
from oneoff.runtime.error_translation import explain
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.lookup import find_job
from oneoff.services.jobs.pickles import display
from oneoff.services.jobs.queue import Enqueued, Jobs, now_ms, serialize
from oneoff.services.jobs.records import JobRecord, utc_time
from oneoff.services.jobs.signature import arguments_of
from oneoff.services.jobs.worker_settings import Task

if TYPE_CHECKING:
    from oneoff.config.settings import Config

_LONGEST_ID = 200  # characters


class Call(NamedTuple):
    """One checked call of a task.

    Attributes:
        task: The function.
        kwargs: Its arguments.
        defer: Time for which no worker may take the job.
        job_id: Id of the job; empty to generate one.
    """

    task: Task
    kwargs: dict[str, Any]
    defer: timedelta | None
    job_id: str

    def text(self) -> str:
        """Return the call as it would be written in code."""
        return f"{self.task.name}({display.call_text((), self.kwargs, 200)})"


def prepare(
    jobs: Jobs,
    task: str,
    pairs: Sequence[str],
    json_text: str,
    *,
    defer: timedelta | None,
    job_id: str,
    wait: bool,
) -> Call:
    """Check a call before anything is queued.

    Raises:
        UsageError: The task does not exist, does not accept the arguments, or keeps no result.
        DataError: `job-not-serializable`.
    """
    found = jobs.worker.task(task)
    kwargs = arguments_of(found.name, found.coroutine, pairs, json_text)
    if len(job_id) > _LONGEST_ID or not job_id.isprintable():
        raise UsageError(f"--job-id {job_id!r} is not 1 to {_LONGEST_ID} printable characters")
    if wait:
        from oneoff.services.jobs.wait import check_keeps_result

        check_keeps_result(found)
    serialize(jobs.worker, found.name, (), kwargs, now_ms())
    return Call(found, kwargs, defer, job_id)


async def plan(jobs: Jobs, call: Call, *, inline: bool, wait: bool) -> Result:
    """Return the result of a dry run.

    Raises:
        CommandError: `job-failed`: the job to wait for already exists and has failed.
    """
    if inline:
        return Result.changed(f"would run {call.text()} in this process", rows=1)
    job_id = call.job_id
    if job_id and await jobs.client.exists(arq_keys.job(job_id), arq_keys.result(job_id)):
        record = await find_job(jobs, job_id) if wait else None
        has_ended = record is not None and record.due is None
        return _existing_result(record) if record and has_ended else _existing_job(job_id)
    due = utc_time(now_ms() + call.defer.total_seconds() * 1000) if call.defer else None
    when = f", due at {due.isoformat(' ', 'seconds')}" if due else ""
    return Result.changed(f"would queue {call.text()} in {jobs.worker.queue}{when}", rows=1)


async def queue(jobs: Jobs, call: Call) -> Result:
    """Queue the call as a job."""
    queued = await _enqueue(jobs, call)
    if not queued.created:
        return _existing_job(queued.id)
    facts = {"id": queued.id, "function": call.task.name, "queue": jobs.worker.queue}
    message = f"queued {call.text()} as job {queued.id}"
    return Result.changed(message, rows=1, data=facts, answer=queued.id)


async def queue_and_wait(jobs: Jobs, config: Config, call: Call) -> Result:
    """Queue the call, wait, and return the job's result.

    If a job with the same id already exists, wait for that job instead.

    Raises:
        CommandError: `job-failed`, or `job-lost`.
        TemporaryError: `job-still-running`.
    """
    from oneoff.services.jobs.wait import require_completed, wait_for_end

    queued = await _enqueue(jobs, call)
    try:
        record = await wait_for_end(jobs, config, queued.id)
    except CommandError as exc:
        raise _without_retry(exc, call) from exc.__cause__
    if not queued.created:
        return _existing_result(record)
    return _completed(
        call, require_completed(record, try_=f"python manage.py jobs show {queued.id}")
    )


async def run_here(jobs: Jobs, config: Config, call: Call) -> Result:
    """Run the call in this process.

    Raises:
        CommandError: `job-failed`, or the error of the task, if that has its own exit code.
    """
    from oneoff.services.jobs.inline import run_inline
    from oneoff.services.jobs.wait import require_completed

    record, error = await run_inline(jobs.worker, config, call.task, call.kwargs, call.job_id)
    # The job is not stored in Redis, so `jobs show` would not find it.
    try_ = "fix the error above, then run the same command again"
    return _completed(call, require_completed(record, try_=try_, error=error))


async def _enqueue(jobs: Jobs, call: Call) -> Enqueued:
    """Queue the call; if that is interrupted, raise an error that contains the job's id."""
    # Choose the id here: the operator needs it to find out whether the job was queued. The same
    # command without the id would queue another job.
    job_id = call.job_id or uuid4().hex
    try:
        return await jobs.enqueue(
            call.task.name, _job_id=job_id, _defer_by=call.defer, **call.kwargs
        )
    except (RedisError, asyncio.CancelledError) as exc:
        cancelled = isinstance(exc, asyncio.CancelledError)
        late = cancelled and not signals.received()  # the run's own deadline
        error = explain(TimeoutError() if late else exc, deadline_passed=late)
        error.why = f"Redis sent no answer, so job {job_id} may or may not be in the queue"
        once = (
            f"add --job-id={shlex.quote(job_id)} to queue the job only once; "
            "without it another job is queued"
        )
        error.try_ = (once, *error.try_)
        raise _without_retry(error, call) from exc


def _without_retry(error: CommandError, call: Call) -> CommandError:
    """Return the error with an exit code after which a scheduler does not queue another job."""
    if not call.job_id:
        error.exit_code = ExitCode.FAILED
    return error


def _completed(call: Call, record: JobRecord) -> Result:
    data = record.details()
    message = f"{call.text()} returned {display.text(data['result'], 200)}"
    return Result.changed(message, rows=1, data=data, answer=_result_json(data))


def _existing_result(record: JobRecord) -> Result:
    """Return the result of an existing job, with the job's own arguments: they may be different.

    Raises:
        CommandError: `job-failed`.
    """
    from oneoff.services.jobs.wait import require_completed

    data = require_completed(record, try_=f"python manage.py jobs show {record.id}").details()
    call = f"{record.function}({display.call_text(record.args, record.kwargs, 200)})"
    returned = display.text(data["result"], 200)
    message = f"job {record.id} already exists: nothing was queued; {call} returned {returned}"
    return Result.unchanged(message, data=data, answer=_result_json(data))


def _existing_job(job_id: str) -> Result:
    message = f"job {job_id} already exists: nothing was queued"
    return Result.unchanged(message, data={"id": job_id}, answer=job_id)


def _result_json(data: dict[str, Any]) -> str:
    return json.dumps(data["result"], ensure_ascii=False, default=str)
