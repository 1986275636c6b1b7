"""Step 10: show how a run ended, and return the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.cli.render import render_error, render_json, render_text, render_warning
from oneoff.core.errors import CommandError, UsageError
from oneoff.core.outcome import Outcome, Status
from oneoff.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oneoff.core.options import GlobalOptions
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor


def reply(outcome: Outcome, options: GlobalOptions, terminal: Terminal, redactor: Redactor) -> int:
    """Write data to standard output and everything else to standard error; return the exit code."""
    code = _show(outcome, options, terminal, redactor)
    if not terminal.output_lost or code:
        return code
    if outcome.status is Status.SUCCEEDED and not outcome.dry_run:
        # Another exit code would make a scheduler do the work a second time.
        lost = "the work is done, but its result could not be written to standard output"
        show_warnings([lost], options, terminal, redactor)
        return code
    error = CommandError(
        "standard output could not be written",
        why="the disk is full, or the stream is closed",
        try_=f"python manage.py audit show {outcome.run_id}",
        code="output-lost",
    )
    terminal.err(render_error(error, redactor, color=terminal.color and not options.no_color))
    return int(error.exit_code)


def show_warnings(
    warnings: Iterable[str], options: GlobalOptions, terminal: Terminal, redactor: Redactor
) -> None:
    """Write warnings to standard error."""
    color = terminal.color and not options.no_color
    for warning in warnings:
        terminal.err(render_warning(warning, redactor, color=color))


def _show(outcome: Outcome, options: GlobalOptions, terminal: Terminal, redactor: Redactor) -> int:
    color = terminal.color and not options.no_color
    if outcome.cause is not None and (options.traceback or options.debug):
        terminal.err(redactor.text(_traceback(outcome.cause)))
    if options.json:
        terminal.out(terminal.as_started(render_json(outcome, redactor)))
        return int(outcome.exit_code)
    show_warnings(outcome.warnings, options, terminal, redactor)
    if options.shapes_rows:
        return _show_rows(outcome, options, terminal, redactor)
    say = terminal.err if terminal.has_data else terminal.out
    text = render_text(
        outcome, redactor, width=terminal.width, quiet=options.quiet, verbose=options.verbose
    )
    say(terminal.as_started(text))
    if outcome.error:
        terminal.err(render_error(outcome.error, redactor, color=color))
    return int(outcome.exit_code)


def _show_rows(
    outcome: Outcome, options: GlobalOptions, terminal: Terminal, redactor: Redactor
) -> int:
    """Write only rows to standard output; the message of the result goes to standard error."""
    from oneoff.cli.rows import render_rows

    error = outcome.error
    try:
        terminal.out(render_rows(outcome, options, redactor, width=terminal.width))
    except UsageError as exc:
        error = error or exc  # a run that failed may have no rows
    if error:
        color = terminal.color and not options.no_color
        terminal.err(terminal.as_started(render_error(error, redactor, color=color)))
        return int(error.exit_code)
    if outcome.message and not options.quiet:
        terminal.err(printable(redactor.text(outcome.message)) + "\n")
    return int(outcome.exit_code)


def _traceback(cause: BaseException) -> str:
    """Return the traceback without local variables, which may contain passwords."""
    import traceback

    return "".join(traceback.format_exception(cause))
