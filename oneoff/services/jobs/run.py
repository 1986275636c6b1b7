"""What `jobs run` does: check one call of a task, then queue it, or run it here."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from redis.exceptions import RedisError

from oneoff.core.errors import UsageError
from oneoff.core.result import Result
from oneoff.runtime import signals
from oneoff.runtime.error_translation import explain
from oneoff.services.jobs import arq_keys
from oneoff.services.jobs.lookup import find_job
from oneoff.services.jobs.pickles import display
from oneoff.services.jobs.queue import Jobs, Queued, now_ms, serialize
from oneoff.services.jobs.records import JobRecord, moment
from oneoff.services.jobs.signature import arguments_of
from oneoff.services.jobs.worker_settings import Task

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project

_LONGEST_ID = 200


class Call(NamedTuple):
    """One call of a task, checked.

    Attributes:
        task: The function.
        kwargs: Its arguments.
        defer: How long no worker may take it.
        job_id: Empty for one that is made up.
    """

    task: Task
    kwargs: dict[str, Any]
    defer: timedelta | None
    job_id: str

    def text(self) -> str:
        """Return it as it would be written in code."""
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
    """Check everything about a call that can be known before it is made.

    Raises:
        UsageError: There is no such task, it takes no such arguments, or keeps no result.
        DataError: `job-not-serializable`.
    """
    found = jobs.worker.task(task)
    kwargs = arguments_of(found.name, found.coroutine, pairs, json_text)
    if len(job_id) > _LONGEST_ID or not job_id.isprintable():
        raise UsageError(f"--job-id {job_id!r} is not a short, printable text")
    if wait:
        from oneoff.services.jobs.wait import check_keeps_result

        check_keeps_result(found)
    serialize(jobs.worker, found.name, (), kwargs, now_ms())
    return Call(found, kwargs, defer, job_id)


async def plan(jobs: Jobs, call: Call, *, inline: bool, wait: bool) -> Result:
    """Say what would be done.

    Raises:
        CommandError: `job-failed`: the job that would be waited for has failed already.
    """
    if inline:
        return Result.changed(f"would run {call.text()} in this process", rows=1)
    if call.job_id and await _exists(jobs, call.job_id):
        record = await find_job(jobs, call.job_id) if wait else None
        ended = record is not None and record.due is None
        return _not_again(record) if record and ended else _there_already(call.job_id)
    due = moment(now_ms() + call.defer.total_seconds() * 1000) if call.defer else None
    when = f", due at {due.isoformat(' ', 'seconds')}" if due else ""
    return Result.changed(f"would queue {call.text()} in {jobs.worker.queue}{when}", rows=1)


async def queue(jobs: Jobs, call: Call) -> Result:
    """Queue it."""
    queued = await _enqueue(jobs, call)
    if not queued.created:
        return _there_already(queued.id)
    facts = {"id": queued.id, "function": call.task.name, "queue": jobs.worker.queue}
    said = f"queued {call.text()} as job {queued.id}"
    return Result.changed(said, rows=1, data=facts, answer=queued.id)


async def queue_and_wait(jobs: Jobs, config: Config, project: Project, call: Call) -> Result:
    """Queue it, and return what came out; of one that was there already, what came out of that.

    Raises:
        CommandError: `job-failed`, or `job-lost`.
        TemporaryError: `job-still-running`.
    """
    from oneoff.services.jobs.wait import outcome, wait_for_end

    queued = await _enqueue(jobs, call)
    record = await wait_for_end(jobs, config, project, queued.id)
    if not queued.created:
        return _not_again(record)
    return _ended(call, outcome(record, try_=f"python manage.py jobs show {queued.id}").whole())


async def run_here(jobs: Jobs, config: Config, call: Call) -> Result:
    """Run it in this process.

    Raises:
        CommandError: `job-failed`, or what the task raised, if that has a code of its own.
    """
    from oneoff.services.jobs.inline import run_inline
    from oneoff.services.jobs.wait import outcome

    record, error = await run_inline(jobs.worker, config, call.task, call.kwargs, call.job_id)
    # It leaves nothing in Redis: there is no job that could be looked at.
    again = "what is above is all there is of it; mend it, and give the same line again"
    return _ended(call, outcome(record, try_=again, error=error).whole())


async def _enqueue(jobs: Jobs, call: Call) -> Queued:
    """Queue it; what breaks off in the middle names the job, which may be there then."""
    job_id = call.job_id or uuid4().hex
    try:
        return await jobs.enqueue(
            call.task.name, _job_id=job_id, _defer_by=call.defer, **call.kwargs
        )
    except (RedisError, asyncio.CancelledError) as exc:
        if isinstance(exc, asyncio.CancelledError) and not signals.received():
            raise  # the deadline, which is the run's to tell
        error = explain(exc)
        error.why = f"job {job_id} may be in the queue, or not: no answer came"
        once = f"to have it once, add --job-id={shlex.quote(job_id)}: without it another is queued"
        error.try_ = (once, *error.try_)
        raise error from exc


def _ended(call: Call, data: dict[str, Any]) -> Result:
    said = f"{call.text()} returned {display.text(data['result'], 200)}"
    return Result.changed(said, rows=1, data=data, answer=_answer(data))


def _not_again(record: JobRecord) -> Result:
    """Name the call that the job was made of: it need not be the one that was asked for.

    Raises:
        CommandError: `job-failed`.
    """
    from oneoff.services.jobs.wait import outcome

    data = outcome(record, try_=f"python manage.py jobs show {record.id}").whole()
    made = f"{record.function}({display.call_text(record.args, record.kwargs, 200)})"
    returned = display.text(data["result"], 200)
    said = f"job {record.id} is there already: nothing was queued; {made} returned {returned}"
    return Result.unchanged(said, data=data, answer=_answer(data))


def _answer(data: dict[str, Any]) -> str:
    return json.dumps(data["result"], ensure_ascii=False, default=str)


def _there_already(job_id: str) -> Result:
    said = f"job {job_id} is there already: nothing was queued"
    return Result.unchanged(said, data={"id": job_id}, answer=job_id)


async def _exists(jobs: Jobs, job_id: str) -> bool:
    return bool(await jobs.client.exists(arq_keys.job(job_id), arq_keys.result(job_id)))
