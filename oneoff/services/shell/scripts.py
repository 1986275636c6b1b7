"""Run a script: all of its work is kept, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, ReadOnlyViolation
from oneoff.services.shell.evaluation import compile_script, evaluate
from oneoff.services.shell.tracebacks import user_traceback

if TYPE_CHECKING:
    from pathlib import Path

    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor


async def run_script(
    source: str,
    filename: str,
    names: dict[str, Any],
    *,
    root: Path,
    terminal: Terminal,
    redactor: Redactor,
) -> None:
    """Run a script in this task.

    Args:
        source: Its text.
        filename: "<string>", "<stdin>" or its path.
        names: Its namespace.
        root: The project's root folder.
        terminal: Standard error gets the traceback, of the user's own code alone.
        redactor: Masks secrets in it.

    Raises:
        CommandError: What the script raised, or that it failed.
    """
    try:
        await evaluate(compile_script(source, filename), names)
    except SystemExit as exc:
        if exc.code:
            raise _left(exc) from exc
    except Exception as exc:
        terminal.err(redactor.text(user_traceback(exc, root, filename)))
        raise _failure(exc, filename) from exc


def _left(exc: SystemExit) -> CommandError:
    text = exc.code if isinstance(exc.code, str) else f"the script left with exit code {exc.code}"
    return CommandError(text, why="its work was rolled back", code="script-failed")


def _failure(exc: Exception, filename: str) -> CommandError:
    from oneoff.database.errors import translate_error

    known = exc if isinstance(exc, CommandError) else translate_error(exc)
    if isinstance(known, ReadOnlyViolation):
        return ReadOnlyViolation(
            known.message,
            why="a shell without --write only reads",
            try_="the same command with --write",
        )
    return known or CommandError(
        f"{filename} failed: {type(exc).__name__}: {exc}",
        why="its work was rolled back",
        code="script-failed",
    )
