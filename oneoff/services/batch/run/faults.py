"""Classify the errors of a batch: whether to try again, and whether to reconnect first."""

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
    """The connection is lost or silent; the checkpoint shows whether the last commit was made."""
    FATAL = "fatal"
    """Trying again would not help."""


def failed_too_often(what: str, rows: int) -> TemporaryError:
    """Return the error for a batch that failed too often.

    Args:
        what: The type of the last error.
        rows: Rows that this run has changed and committed.
    """
    return TemporaryError(
        f"a batch failed too often, the last time with {what}",
        why=_saved(rows),
        try_=_RESUME,
        code="database-busy",
    )


def database_lost(seconds: float, rows: int) -> Unavailable:
    """Return the error for a database that was unavailable for too long."""
    return Unavailable(
        f"the database was lost, and was not available again within {seconds:g} s",
        why=_saved(rows),
        try_=_RESUME,
    )


def _saved(rows: int) -> str:
    return f"committed rows are kept ({counted(rows, 'row')} by this run), the last batch is not"


_RESUME = "run the same command again: it continues after the last committed row"


def fault_of(exc: BaseException) -> Fault:
    """Return the kind of an error of a batch."""
    if isinstance(exc, CommandError):
        return Fault.LOST if isinstance(exc, Unavailable) else Fault.FATAL
    if sqlstate_of(exc) in CONFLICTS or sqlite_code(exc) in (BUSY, LOCKED) or is_outdated(exc):
        return Fault.CONFLICT
    if is_connection_loss(exc) or isinstance(exc, TimeoutError):
        return Fault.LOST
    return Fault.FATAL
