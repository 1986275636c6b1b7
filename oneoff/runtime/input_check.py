"""Let a command refuse its inputs, and its task the run, before the operator is asked to confirm.

The module of the tasks is imported only for a command that has one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ReadOnlyViolation
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.core.command import BaseCommand
    from oneoff.core.outcome import Call
    from oneoff.core.result import Result
    from oneoff.core.run import Run
    from oneoff.core.task import Task
    from oneoff.database.engine import Database
    from oneoff.runtime.container import Container


async def check_inputs(
    command: BaseCommand, given: Mapping[str, Any], database: Database | None
) -> None:
    """Call the command's `check_inputs` with the resources that it asks for.

    Args:
        command: With its inputs.
        given: The resources that need not be opened.
        database: Opens the read-only session. None if there is no database, or if the operator is
            not asked: then a check that asks for the session is left out, because `handle` finds
            the same problem without a second connection.
    """
    names = command.check_resources()
    async with AsyncExitStack() as stack:
        resources = dict(given)
        if "session" in names:
            if database is None:
                return
            from oneoff.database.transaction import begin_work

            work = await stack.enter_async_context(begin_work(database, Mode.READ_ONLY))
            resources["session"] = work.session
        try:
            await command.check_inputs(**{name: resources[name] for name in names})
        except Exception as exc:
            if "session" in names and _is_refused_write(exc):
                raise ReadOnlyViolation(
                    "check_inputs tried to write, but its session is read-only",
                    why="the run is not confirmed yet",
                    try_="write in handle",
                ) from exc
            raise


async def check_task(call: Call, given: Mapping[str, Any], warnings: list[str]) -> Run:
    """Call the checks of the command's task, if it has one here; return the facts of the run.

    Raises:
        Refused: Checks failed that are not waived.
    """
    run: Run = given["run"]
    task, waived = _task_here(call, run), call.options.waive
    if task is None or not (task.checks or waived):
        if waived:
            warnings.append(f"--waive has no effect: no check applies in {run.environment}")
        return run
    from oneoff.runtime import task_checks

    return await task_checks.check(task, call, given, warnings)


async def verify_task(
    call: Call,
    given: Mapping[str, Any],
    container: Container,
    result: Result,
    warnings: list[str],
) -> None:
    """Verify the work of the command's task, if it has one here, before it is committed.

    Raises:
        CommandError: The work is not right.
    """
    task = _task_here(call, given["run"])
    if task is not None and task.verify is not None:
        from oneoff.runtime import task_checks

        work = container.opened("work")
        await task_checks.verify(task, call, {**given, "result": result}, work, warnings)


def _task_here(call: Call, run: Run) -> Task | None:
    """Return the task whose work this run does; None for a preview of `--check` or a shard."""
    task = call.command.task
    if task is None or call.command.only_reads() or run.shard:
        return None
    return task if task.applies_in(run.environment) else None


def _is_refused_write(exc: Exception) -> bool:
    from oneoff.database.errors import is_read_only_error

    return is_read_only_error(exc)
