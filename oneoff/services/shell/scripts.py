"""Run a script in the run's transaction: all of its work is committed, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, ReadOnlyViolation
from oneoff.services.shell.evaluation import compile_script, evaluate, user_traceback

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
    """Run a script in the current task.

    Args:
        source: The text of the script.
        filename: "<string>", "<stdin>" or the script's path.
        names: The namespace of the script.
        root: The project's root folder.
        terminal: Its standard error gets the traceback of the user's code.
        redactor: Masks secrets in the traceback.

    Raises:
        CommandError: The script raised an exception, or left with an exit code other than 0.
    """
    try:
        await evaluate(compile_script(source, filename), names)
    except SystemExit as exc:
        if exc.code:
            text = exc.code if isinstance(exc.code, str) else None
            raise CommandError(
                text or f"the script left with exit code {exc.code}",
                why="its work was rolled back",
                code="script-failed",
            ) from exc
    except Exception as exc:
        terminal.err(redactor.text(user_traceback(exc, root, filename)))
        raise _failure(exc, filename) from exc


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
