"""Step 10: show how a run ended, and return the code to leave with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.outcome import Outcome
from oneoff.output import render_error, render_json, render_text, render_warning

if TYPE_CHECKING:
    from oneoff.options import GlobalOptions
    from oneoff.redact import Redactor
    from oneoff.terminal import Terminal


def reply(outcome: Outcome, options: GlobalOptions, terminal: Terminal, redactor: Redactor) -> int:
    """Write data to standard output and the rest to standard error."""
    color = terminal.color and not options.no_color
    if outcome.cause is not None and (options.traceback or options.debug):
        terminal.err(redactor.text(_traceback(outcome.cause)))
    if options.json:
        terminal.out(render_json(outcome, redactor))
        return int(outcome.exit_code)
    for warning in outcome.result.warnings if outcome.result else ():
        terminal.err(render_warning(warning, redactor, color=color))
    terminal.out(
        render_text(
            outcome,
            redactor,
            width=terminal.width,
            quiet=options.quiet,
            verbose=options.verbose,
        )
    )
    if outcome.error:
        terminal.err(render_error(outcome.error, redactor, color=color))
    return int(outcome.exit_code)


def _traceback(cause: BaseException) -> str:
    """Return the traceback without the frames' locals: they hold passwords."""
    import traceback

    return "".join(traceback.format_exception(cause))
