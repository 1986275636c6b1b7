"""Run the checks of an admin task before its work, and verify the work before the commit.

Both are functions that raise `CheckFailed`. They get resources by parameter name, all of them
read-only. The executor calls them for a command that has a `task`, where the task applies.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import (
    CheckFailed,
    CommandError,
    ConfigurationError,
    ReadOnlyViolation,
    Refused,
    UsageError,
)
from oneoff.core.policy import Mode
from oneoff.core.task import meaning_of, name_of
from oneoff.database.errors import is_read_only_error
from oneoff.runtime.container import Container, parameters
from oneoff.runtime.task_evidence import BUILT_IN, STATED
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.core.task import Check, Task
    from oneoff.database.transaction import WorkTransaction


def resolve(check: str | Check) -> Check | None:
    """Return the function of a check; None for a name that no built-in check has."""
    return BUILT_IN.get(check) if isinstance(check, str) else check


async def check(task: Task, call: Call, given: Mapping[str, Any], warnings: list[str]) -> Run:
    """Call the checks of a task, and refuse the run if one fails that is not waived.

    In a dry run, a check that fails is only a warning.

    Args:
        task: The task of the command.
        call: The command and its options.
        given: The resources that exist before the work.
        warnings: The warnings of the run; some may be added.

    Returns:
        The facts of the run; the reason for it includes the waivers.

    Raises:
        UsageError: `--waive` names a check that the task does not have.
        Refused: Checks failed; the error names each, and what to do.
    """
    run: Run = given["run"]
    waived, checks = call.options.waive, task.checks_by_name()
    if unknown := sorted(waived.keys() - checks.keys()):
        raise _unknown_check(task, unknown, list(checks), call.name)
    failed: dict[str, CheckFailed] = {}
    async with _read_only(given, call) as container:
        for name, declared in checks.items():
            if name in waived:
                continue
            try:
                await _call(_known(task, name, declared), container)
            except CheckFailed as exc:
                failed[name] = exc
    if failed and not run.dry_run:
        raise _refusal(task, call, failed)
    warnings += [
        f"the real run would be refused: {name}: {exc.message}" for name, exc in failed.items()
    ]
    stated = [name for name in waived if resolve(checks[name]) in STATED]
    warnings += [f"stated, and not known to oneoff: {name}: {waived[name]}" for name in stated]
    reasons = [
        f"{'stated' if name in stated else 'waived'} {name}: {reason}"
        for name, reason in waived.items()
    ]
    return replace(run, reason="; ".join(filter(None, [run.reason, *reasons])))


async def verify(
    task: Task,
    call: Call,
    given: Mapping[str, Any],
    work: WorkTransaction | None,
    warnings: list[str],
) -> None:
    """Call `verify` of a task: in the transaction of its work, if it has one.

    Batches, and work that a rollback can't undo, are verified by a transaction of its own when they
    are complete. In a dry run, a failure is only a warning.

    Args:
        task: The task of the command.
        call: The command and its options.
        given: The resources that existed before the work, and its `result`.
        work: The transaction of the work; None if the command did its work without it.
        warnings: The warnings of the run; one may be added.

    Raises:
        CommandError: The work is not right. If it has a transaction, it must be rolled back.
    """
    dry_run = call.options.dry_run
    # A plan, and the first of many batches, is not the complete work.
    is_complete = given["mode"] is Mode.ROLLBACK and work is not None and not work.partial
    if task.verify is None or (dry_run and not is_complete):
        return
    if getattr(call.command, "shard", "") and work is None:
        warnings.append(f"{task.id} was not verified, because this run did only one shard of it")
        return
    try:
        async with _read_only(given, call, work) as container:
            await _call(task.verify, container)
    except CheckFailed as exc:
        if not dry_run:
            raise _not_verified(task, exc, undone=work is not None) from exc
        warnings.append(f"the real run would fail, because its work is not right: {exc.message}")


@asynccontextmanager
async def _read_only(
    given: Mapping[str, Any], call: Call, work: WorkTransaction | None = None
) -> AsyncIterator[Container]:
    """Open resources that can't write; with `work`, the session is that of the run.

    A session of the run is in a savepoint that is rolled back, so a check can't change its work.
    """
    facts = {**given, "mode": Mode.READ_ONLY, "lock": None, "command": call.command}
    async with AsyncExitStack() as stack:
        if work is None:
            yield Container.of_run(stack, facts)
            return
        async with work.session.begin_nested() as savepoint:
            yield Container.of_run(stack, {**facts, "work": work})
            await savepoint.rollback()


async def _call(function: Check, container: Container) -> None:
    resources = {name: await container.get(name) for name in parameters(function)}
    try:
        await function(**resources)
    except Exception as exc:
        if is_read_only_error(exc):
            raise ReadOnlyViolation(
                f"{name_of(function)} tried to write, but its session is read-only",
                why="it only checks the work, or whether it may start",
                try_="write in handle",
            ) from exc
        raise


def _known(task: Task, name: str, declared: str | Check) -> Check:
    function = resolve(declared)
    if function is None:
        near = similar(name, BUILT_IN)
        raise ConfigurationError(
            f"the task {task.id} declares the check {name!r}, which does not exist"
            + (f"; did you mean {near[0]}?" if near else ""),
            why=f"built-in checks are {', '.join(BUILT_IN)}",
            try_="python manage.py commands check",
            code="unknown-check",
        )
    return function


def _unknown_check(
    task: Task, unknown: Sequence[str], known: Sequence[str], name: str
) -> UsageError:
    near = similar(unknown[0], known)
    return UsageError(
        [
            f"--waive {check}: the task {task.id} has no such check; it has "
            f"{', '.join(known) or 'none'}"
            for check in unknown
        ],
        try_=f'python manage.py {name} --waive {near[0]}="REASON"' if near else (),
        code="unknown-check",
    )


def _refusal(task: Task, call: Call, failed: Mapping[str, CheckFailed]) -> Refused:
    """Return the error that names each check that failed, and what to do about it."""
    waive = " ".join(f'--waive {name}="REASON"' for name in failed)
    tries = [line for exc in failed.values() for line in exc.try_]
    words, dashes, rest = call.line.partition(" -- ")
    return Refused(
        f"{task.id} may not run: " + "; ".join(f"{name}: {exc}" for name, exc in failed.items()),
        why=f"{call.name} is the admin task {task.id}, and its checks come before its work",
        try_=[*dict.fromkeys(tries), f"{words} {waive}{dashes}{rest}"],
        code="check-failed",
        data=[{"check": name, "problem": exc.message} for name, exc in failed.items()],
        table=(),  # the message says it, also in the record
    )


def _not_verified(task: Task, exc: CheckFailed, *, undone: bool) -> CommandError:
    what_now = "its work was rolled back" if undone else "its work is saved"
    tries = [*exc.try_]
    if not undone and task.rollback:
        tries.append(f"python manage.py {task.rollback}")
    return CommandError(
        f"{task.id} is not right: {exc.message}",
        why=f"{name_of(task.verify)} ({meaning_of(task.verify).rstrip('.')}) failed; {what_now}",
        try_=tries,
        code="verification-failed",
        data=exc.data,
    )
