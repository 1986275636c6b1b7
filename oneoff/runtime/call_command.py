"""Run a command from code, with the same executor and the same rules as `manage.py`."""

from __future__ import annotations

import asyncio
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oneoff.core.command import BaseCommand
from oneoff.core.errors import (
    DeadlineReached,
    DryRunViolation,
    ReadOnlyViolation,
    UsageError,
)
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call
from oneoff.core.parsing import parse, scrub_argv
from oneoff.core.policy import Access, DryRun, Mode
from oneoff.core.result import Result
from oneoff.runtime.application import Application, find_project, load_application
from oneoff.runtime.executor import Execution, running
from oneoff.runtime.gate import mode_of
from oneoff.utils.redaction import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.outcome import Outcome
    from oneoff.core.run import Run


_ABOUT_OUTPUT = (
    *("json", "as_", "fields", "sort"),
    *("quiet", "verbose", "debug", "traceback", "no_color", "help"),
)


async def call_command(name: str, app: Application | None = None, /, **values: Any) -> Result:
    """Run a command as `manage.py` would, and return its result.

        await call_command("user promote", user="ada", role="admin", confirm=True)

    It never prompts: pass `confirm=True` (or the target) to a command that needs a confirmation.
    The command opens its own session; the caller's transaction is not part of the run.

    Within a dry run, the called command is a dry run too. A read-only run can only call commands
    that read.

    Args:
        name: A command line without the program: "user promote", or "migrate --check".
        app: The project to run it in; by default that of the calling run, or of the current folder.
        values: The command's inputs, and global options by name (`dry_run=True`, `reason="..."`).
            None, False and an empty text for an option mean that it is not given.

    Raises:
        UsageError: An input or option does not exist, has a wrong value, or has no effect here.
        ReadOnlyViolation: The calling run is read-only, and this one would write.
        CommandError: The run failed or was refused.
    """
    app = app or running_application()
    try:
        words = shlex.split(name)
    except ValueError as exc:
        raise UsageError(f"{name!r} can't be split into words: {exc}") from exc
    outcome = await execute(app, make_call(app, words, **values))
    if outcome.error:
        raise outcome.error from outcome.cause
    if outcome.result is None:
        message = f"{name} ended without a result or an error"
        raise RuntimeError(message)
    return replace(outcome.result, warnings=outcome.warnings)


def running_application() -> Application:
    """Return the application of the calling run, or that of the current folder."""
    outer = running.get()
    return outer.app if outer else load_application(*find_project(os.getcwd()))


async def execute(app: Application, call: Call) -> Outcome:
    """Run a command within the calling run, if there is one; return its outcome.

    Raises:
        ReadOnlyViolation: The calling run is read-only, and this one would write.
        asyncio.CancelledError: The calling run was cancelled.
    """
    outer = running.get()
    app.accepts_problems = type(call.command).accepts_problems
    if outer and outer.call.options.dry_run:
        _preview(type(call.command), call.options, call.name)
    if outer and mode_of(outer.call.command, outer.call.options) is Mode.READ_ONLY:
        _check_reads(call, outer.call)
    outcome = await Execution.from_code(app, call, run=_new_run(app, call)).run()
    # A run that ends after its own deadline was cancelled by that, not by the caller's task.
    is_late = isinstance(outcome.error, DeadlineReached)
    if isinstance(outcome.cause, asyncio.CancelledError) and not is_late:
        raise outcome.cause
    return outcome


def make_call(app: Application, line: Sequence[str], /, **values: Any) -> Call:
    """Parse the words of a command line, without the program, and inputs that are given by name.

    Raises:
        UsageError: An input or option does not exist, has a wrong value, or has no effect here.
    """
    entry, words = app.registry.find(line)
    command_class = app.registry.load(entry)
    argv = scrub_argv(command_class, words)
    parsed = parse(command_class, words, entry.name, values)
    options, command = parsed.options, parsed.command
    useless = [option for option in _ABOUT_OUTPUT if getattr(options, option)]
    if command is None or useless:
        raise UsageError(
            [
                f"{option} has no effect: call_command prints nothing"
                for option in useless or ["help"]
            ],
            try_=f"leave it out, and use the Result that {entry.name} returns",
        )
    options.no_input = True
    name = app.registry.name_of(command_class)
    typed = command_line(f"python manage.py {entry.name}", argv)
    return Call(name, command, options, [*entry.name.split(), *argv], typed)


def _check_reads(call: Call, outer: Call) -> None:
    """Refuse a command that would write, because the run that calls it is read-only."""
    if mode_of(call.command, call.options) is Mode.READ_ONLY:
        return
    if outer.options.dry_run:
        return  # the called command is a dry run too: its transaction is rolled back
    raise ReadOnlyViolation(
        f"{outer.name} is a read-only run, so it can't call {call.name}, which writes",
        try_=f"declare access = Access.WRITE in {type(outer.command).__name__}",
    )


def _new_run(app: Application, call: Call) -> Run:
    """Return the new run; in a worker it may work only on the shard of the calling run."""
    run, outer = app.new_run(call.name, call.options), running.get()
    return replace(run, shard=outer.run_info.shard) if outer else run


def _preview(command: type[BaseCommand], options: GlobalOptions, name: str) -> None:
    """Make the called command a dry run, because the calling run is one."""
    if command.access is Access.READ:
        return
    if command.dry_run is DryRun.UNSUPPORTED:
        raise DryRunViolation(
            f"{name} can't be previewed, so it can't be called in a dry run",
            try_=f"declare {command.__name__}.dry_run, or call it only in a real run",
        )
    options.dry_run = True
