"""What `jobs run` does: check one call of a task, then queue it, or run it here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.arq_jobs import keys, preview
from oneoff.arq_jobs.queue import Jobs, now_ms, serialize
from oneoff.arq_jobs.records import moment
from oneoff.arq_jobs.signature import arguments_of
from oneoff.arq_jobs.worker_settings import Task
from oneoff.errors import UsageError
from oneoff.result import Result

if TYPE_CHECKING:
    from oneoff.config import Config

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
        return f"{self.task.name}({preview.call_text((), self.kwargs, 200)})"


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
        from oneoff.arq_jobs.wait import check_keeps_result

        check_keeps_result(found)
    serialize(jobs.worker, found.name, (), kwargs, now_ms())
    return Call(found, kwargs, defer, job_id)


async def plan(jobs: Jobs, call: Call, *, inline: bool) -> Result:
    """Say what would be done."""
    if inline:
        return Result.changed(f"would run {call.text()} in this process", rows=1)
    if call.job_id and await _exists(jobs, call.job_id):
        return _there_already(call.job_id)
    due = moment(now_ms() + call.defer.total_seconds() * 1000) if call.defer else None
    when = f", due at {due.isoformat(' ', 'seconds')}" if due else ""
    return Result.changed(f"would queue {call.text()} in {jobs.worker.queue}{when}", rows=1)


async def queue(jobs: Jobs, call: Call, *, wait: bool) -> Result:
    """Queue it; with `wait`, return what came out.

    Raises:
        CommandError: `job-failed`, or `job-lost`.
        TemporaryError: `job-still-running`.
    """
    queued = await jobs.enqueue(
        call.task.name, _job_id=call.job_id, _defer_by=call.defer, **call.kwargs
    )
    if wait:
        from oneoff.arq_jobs.wait import outcome, wait_for_end

        record = outcome(await wait_for_end(jobs, queued.id))
        return _ended(call, record.whole())
    if not queued.created:
        return _there_already(queued.id)
    facts = {"id": queued.id, "function": call.task.name, "queue": jobs.worker.queue}
    return Result.changed(f"queued {call.text()} as job {queued.id}", rows=1, data=facts)


async def run_here(jobs: Jobs, config: Config, call: Call) -> Result:
    """Run it in this process.

    Raises:
        CommandError: `job-failed`.
    """
    from oneoff.arq_jobs.inline import run_inline
    from oneoff.arq_jobs.wait import outcome

    record = outcome(await run_inline(jobs.worker, config, call.task, call.kwargs, call.job_id))
    return _ended(call, record.whole())


def _ended(call: Call, data: dict[str, Any]) -> Result:
    result = preview.text(data["result"], 200)
    return Result.changed(f"{call.text()} returned {result}", rows=1, data=data)


def _there_already(job_id: str) -> Result:
    return Result.unchanged(
        f"job {job_id} is there already: nothing was queued", data={"id": job_id}
    )


async def _exists(jobs: Jobs, job_id: str) -> bool:
    return bool(await jobs.client.exists(keys.job(job_id), keys.result(job_id)))
