"""Run one process: argv in, exit code out. This is step 1, and it calls all other steps.

`_run_line` loads the project and calls `dispatch` (step 2), `Execution.run` (steps 3 to 9, in
`oneoff.runtime.executor`) and `reply` (step 10).

Nothing heavy is imported until the command line is parsed: help, completion and usage
errors never load asyncio, SQLAlchemy or the project's settings.
"""

from __future__ import annotations

import gc
import os
import sys

from oneoff.cli.dispatch import Page, dispatch, options_for_error, page_without_project
from oneoff.core.errors import ConfigurationError
from oneoff.runtime import signals
from oneoff.runtime.application import Application, find_project, load_application
from oneoff.runtime.terminal import Terminal

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oneoff.core.options import GlobalOptions
    from oneoff.core.outcome import Call, Outcome
    from oneoff.runtime.executor import Execution
    from oneoff.utils.redaction import Redactor


def main(project: str, argv: Sequence[str] | None = None) -> int:
    """Run one command line of a project and return the exit code.

    Args:
        project: Import string of the project object: "app.project:project".
        argv: Instead of the process's own arguments.
    """
    return _run_process(lambda: load_application(project, _root()), argv)


def console() -> int:
    """Run the `oneoff` and `admin` scripts: `manage.py` of the project in the current folder."""
    return _run_process(lambda: load_application(*find_project(os.getcwd())), None)


def _run_process(load: Callable[[], Application], argv: Sequence[str] | None) -> int:
    signals.install()
    # Imported modules are never freed. Collecting garbage during the imports would only scan them
    # repeatedly, which takes a quarter of the start-up time.
    gc.disable()
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        terminal = Terminal.of_process()
        terminal.program = _program()
        return _run_line(load, words, terminal)
    except signals.SignalReceived as exc:
        return signals.exit_code_of(exc.signum)


def _run_line(load: Callable[[], Application], words: Sequence[str], terminal: Terminal) -> int:
    options = options_for_error(words)
    app = None
    try:
        try:
            app = load()
        except ConfigurationError as problem:
            page = page_without_project(words, problem, terminal.program)
            if page is None:
                raise
            return _show_page(page, options, terminal, None)
        found = dispatch(app, words, terminal.program)
        if isinstance(found, Page):
            return _show_page(found, options, terminal, app)
        options = found.options
        redactor = _redactor(app)
        outcome = _execute(app, found, terminal, redactor)
    except Exception as exc:  # noqa: BLE001 - shown to the operator; sets the exit code
        redactor = _redactor(app)
        outcome = _failed_outcome(exc)
    from oneoff.cli.reply import reply

    return reply(outcome, options, terminal, redactor)


def _show_page(
    page: Page, options: GlobalOptions, terminal: Terminal, app: Application | None
) -> int:
    terminal.out(page.text)
    if page.warnings:
        from oneoff.cli.reply import show_warnings

        show_warnings(page.warnings, options, terminal, _redactor(app))
    return int(terminal.output_lost)


def _execute(app: Application, call: Call, terminal: Terminal, redactor: Redactor) -> Outcome:
    from contextlib import nullcontext, redirect_stdout

    from oneoff.runtime.executor import Execution
    from oneoff.runtime.logs.capture import capturing

    # Standard output must contain only the data, so `print` in a command goes to stderr.
    only_data = call.options.json or call.options.shapes_rows
    aside = redirect_stdout(sys.stderr) if only_data else nullcontext()

    # The application's own code reads the process environment.
    for name, value in app.config.environ.items():
        os.environ.setdefault(name, value)
    execution = Execution(app, call, terminal, redactor, process_wide=True)
    with aside, capturing(execution.logs):
        return _run_loop(execution)


def _run_loop(execution: Execution) -> Outcome:
    """Run the loop until the run has ended, even if a task of the command raises SystemExit.

    SystemExit and KeyboardInterrupt, raised in a task, end the loop itself. It is started again, so
    that the run fails, is rolled back and recorded like any other.
    """
    import asyncio

    with signals.deadline(execution.call.options.timeout), asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(execution.run())
        with signals.cancelling(lambda: loop.call_soon_threadsafe(task.cancel)):
            while True:
                try:
                    return loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt) as exc:
                    if task.done():
                        raise
                    execution.fail_with(exc)
                    task.cancel()


def _failed_outcome(exc: Exception) -> Outcome:
    from oneoff.core.outcome import Outcome
    from oneoff.runtime.error_translation import explain

    return Outcome(command="", error=explain(exc), cause=exc)


def _redactor(app: Application | None) -> Redactor:
    from oneoff.core.errors import CommandError
    from oneoff.utils.redaction import Redactor

    try:
        return Redactor(app.config.environ if app else os.environ)
    except CommandError:  # the settings themselves are wrong
        return Redactor(os.environ)


def _root() -> str:
    """Return the folder of the script that was started: `manage.py` is in the root folder."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    # os.path, because importing pathlib takes a third of the time of `help`.
    return os.path.dirname(os.path.abspath(script)) if script else os.getcwd()


def _program() -> str:
    """Return how the operator started the process, for the command lines in messages."""
    folder, name = os.path.split(sys.argv[0])
    if name == "__main__.py":  # python -m PACKAGE
        spec = sys.modules["__main__"].__spec__
        return f"python -m {spec.name.removesuffix('.__main__')}" if spec else f"python {folder}"
    return f"python {name}" if name.endswith(".py") else name
