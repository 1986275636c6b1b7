"""The errors of a history of revisions: what can't be read, and what can't be reached."""

from __future__ import annotations

import traceback

from oneoff.core.errors import CommandError
from oneoff.utils.text import counted, first_line


def unreachable(target: str, start: str, exc: Exception) -> CommandError:
    """Return the error for a revision that is not above, or below, those of the database."""
    return CommandError(
        f"{target} can't be reached from {start}",
        why=first_line(exc),
        try_="python manage.py db status",
        code="unreachable-revision",
    )


def too_few(count: int, found: int, current: tuple[str, ...]) -> CommandError:
    """Return the error for more steps back than there are revisions."""
    start = ", ".join(current) or "the empty database"
    return CommandError(
        f"the database can't go back {counted(count, 'revision')} from {start}",
        why=f"only {counted(found, 'revision')} can be undone",
        try_="python manage.py db status",
        code="unreachable-revision",
    )


def broken(message: str) -> CommandError:
    """Return the error for a file of a revision that is wrong."""
    return CommandError(message, try_="correct the file and try again", code="broken-revision")


def error_location(exc: Exception) -> tuple[str, int]:
    """Return the file and line of a syntax error, or of the place where the error was raised."""
    if isinstance(exc, SyntaxError):
        return exc.filename or "", exc.lineno or 0
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return frame.filename, frame.lineno or 0
