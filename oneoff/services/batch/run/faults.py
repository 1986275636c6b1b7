"""Classify the errors of a batch: whether it can be tried again, and what must be done first."""

from __future__ import annotations

from enum import Enum

from oneoff.core.errors import CommandError, TemporaryError, Unavailable
from oneoff.database.errors import (
    BUSY,
    CONFLICTS,
    LOCKED,
    is_connection_loss,
    is_outdated,
    sqlite_code,
    sqlstate_of,
)
from oneoff.utils.text import counted


class Fault(Enum):
    """What an error means for the run."""

    CONFLICT = "conflict"
    """The transaction was rolled back; a smaller one may succeed."""
    LOST = "lost"
    """The connection is gone or silent; the checkpoint tells whether the last commit was made."""
    FATAL = "fatal"
    """Trying again would not help."""


def failed_too_often(what: str, rows: int) -> TemporaryError:
    """Return the error for a batch that failed too often.

    Args:
        what: Why it failed the last time.
        rows: Rows this run has changed and saved.
    """
    return TemporaryError(
        f"a batch failed too often, the last time because {what}",
        why=_saved(rows),
        try_=_RESUME,
        code="database-busy",
    )


def database_lost(seconds: float, rows: int) -> Unavailable:
    """Return the error for a database that did not come back in time."""
    return Unavailable(
        f"the database was lost, and did not come back within {seconds:g} s",
        why=_saved(rows),
        try_=_RESUME,
    )


def _saved(rows: int) -> str:
    return f"what this run changed is saved ({counted(rows, 'row')}), the batch in work is not"


_RESUME = "run the same command again: it goes on from there"


def fault_of(exc: BaseException) -> Fault:
    """Return what an error of a batch means."""
    if isinstance(exc, CommandError):
        return Fault.LOST if isinstance(exc, Unavailable) else Fault.FATAL
    if sqlstate_of(exc) in CONFLICTS or sqlite_code(exc) in (BUSY, LOCKED) or is_outdated(exc):
        return Fault.CONFLICT
    if is_connection_loss(exc) or isinstance(exc, TimeoutError):
        return Fault.LOST
    return Fault.FATAL
