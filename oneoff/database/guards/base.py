"""Keep the command from ending the transaction of a dry run or of a read-only run.

Imported only for those runs, so a real run pays nothing for it. Only the executor releases a guard.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Guard(ABC):
    """Keeps one transaction open, from `arm` until `release`.

    Args:
        connection: With the transaction; nothing else was sent on it yet.
        mode: `READ_ONLY` or `ROLLBACK`.
    """

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        self.connection = connection
        self.mode = mode

    @abstractmethod
    async def arm(self) -> None:
        """Begin the transaction and refuse from now on what would end it."""

    @abstractmethod
    async def release(self) -> None:
        """Let the executor roll back; every statement after that is refused."""

    @abstractmethod
    def violation(self) -> CommandError | None:
        """Return what was refused so far, though the command may have swallowed the error."""

    @abstractmethod
    async def check(self) -> None:
        """Check that the transaction is still the one that was armed.

        Raises:
            DryRunViolation: It was ended; what was written since may have stayed.
        """

    @abstractmethod
    async def check_constraints(self) -> None:
        """Check the deferred constraints, and raise what a commit would raise."""


def refusal(mode: Mode, statement: str) -> CommandError:
    """Return the error for an attempt to end the transaction."""
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            f"a read-only run tried to end its transaction: {statement}",
            why="what followed could have written",
            try_=_LEAVE_IT,
        )
    return DryRunViolation(
        f"a dry run tried to end its transaction: {statement}",
        why="what it wrote would have stayed; it was refused, and everything was rolled back",
        try_=_LEAVE_IT,
    )


def ended(mode: Mode) -> CommandError:
    """Return the error for a transaction that was ended in a way that could not be refused."""
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            "the transaction of a read-only run was ended", try_=_LEAVE_IT, code="read-only"
        )
    return DryRunViolation(
        "the transaction of a dry run was ended before its time",
        why="the command, or something it calls, ended it; what was written since may have stayed",
        try_=("look for changes in the database", _LEAVE_IT),
    )


def too_late(mode: Mode) -> CommandError:
    """Return the error for what is sent after the transaction was rolled back."""
    kind = ReadOnlyViolation if mode is Mode.READ_ONLY else DryRunViolation
    return kind(
        "something went on using the connection after the command had ended",
        why="it was refused: the transaction was rolled back already",
        try_="await every task that the command starts",
    )


_LEAVE_IT = "leave COMMIT and ROLLBACK to the executor; session.commit() is harmless"
