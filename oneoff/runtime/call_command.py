"""Run a command from code, with the same executor and the same rules as `manage.py`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oneoff.core.command import RESERVED, BaseCommand
from oneoff.core.errors import DryRunViolation
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call
from oneoff.core.policy import Access, DryRun
from oneoff.core.result import Result
from oneoff.runtime.application import Application, find_project, load_application
from oneoff.runtime.executor import Execution, running

if TYPE_CHECKING:
    from oneoff.core.run import Run


async def call_command(name: str, app: Application | None = None, /, **values: Any) -> Result:
    """Run a command as `manage.py` would, and return its result.

        await call_command("user promote", user="ada", role="admin", confirm=True)

    It never prompts: pass `confirm=True` (or the target) to a command that needs a confirmation.
    The command opens its own session; the caller's transaction is not part of the run.

    Within a dry run, the called command is a dry run too. Within a read-only run, it can't write.

    Args:
        name: As typed: "user promote".
        app: The project to run it in; by default that of the calling run, or of the current folder.
        values: The command's inputs, and global options by name (`dry_run=True`, `reason="..."`).

    Raises:
        CommandError: The run failed or was refused.
    """
    outer = running.get()
    app = app or (outer.app if outer else load_application(*find_project(os.getcwd())))
    options = GlobalOptions()
    for option in RESERVED & values.keys():
        setattr(options, option, values.pop(option))
    options.no_input = True
    command_class = app.registry.load(app.registry.find(name.split())[0])
    app.accepts_problems = command_class.accepts_problems
    if outer and outer.call.options.dry_run:
        _preview(command_class, options, name)
    command = command_class(**values)
    call = Call(
        app.registry.name_of(command_class),
        command,
        options,
        name.split(),
        f"python manage.py {name}",
    )
    outcome = await Execution.from_code(app, call, run=_new_run(app, call)).run()
    if isinstance(outcome.cause, asyncio.CancelledError):
        raise outcome.cause
    if outcome.error:
        raise outcome.error from outcome.cause
    if outcome.result is None:
        message = f"{name} ended without a result or an error"
        raise RuntimeError(message)
    return outcome.result


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
