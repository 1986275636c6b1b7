"""Prevent a command from ending the transaction of a dry run or of a read-only run.

Only these runs import this module, so other runs don't pay for it. Only the executor releases a
guard.
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
        connection: A connection on which nothing was sent yet; `arm` begins its transaction.
        mode: `READ_ONLY` or `ROLLBACK`.
    """

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        self.connection = connection
        self.mode = mode

    @abstractmethod
    async def arm(self) -> None:
        """Begin the transaction, and refuse all statements that would end it from now on."""

    @abstractmethod
    async def release(self) -> None:
        """Let the executor roll back; every statement after that is refused."""

    @abstractmethod
    def violation(self) -> CommandError | None:
        """Return the error of the first refusal, even if the command swallowed it."""

    @abstractmethod
    async def check(self) -> None:
        """Check that the transaction is still the one that was armed.

        Raises:
            DryRunViolation: It was ended; writes after that may have been saved.
        """

    @abstractmethod
    async def check_constraints(self) -> None:
        """Check the deferred constraints, and raise the error that a commit would raise."""


def refusal(mode: Mode, statement: str) -> CommandError:
    """Return the error for an attempt to end the transaction."""
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            f"a read-only run tried to end its transaction: {statement}",
            why="later statements could have written",
            try_=_LEAVE_IT,
        )
    return DryRunViolation(
        f"a dry run tried to end its transaction: {statement}",
        why="the statement could have saved changes, so it was refused, and they were rolled back",
        try_=_LEAVE_IT,
    )


def ended(mode: Mode) -> CommandError:
    """Return the error for a transaction that was ended in a way that could not be refused."""
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            "the transaction of a read-only run was ended", try_=_LEAVE_IT, code="read-only"
        )
    return DryRunViolation(
        "the transaction of a dry run was ended too early",
        why="the command, or code that it calls, ended it; later writes may have been saved",
        try_=("check the database for changes", _LEAVE_IT),
    )


def too_late(mode: Mode | None) -> CommandError:
    """Return the error for a statement after the end of the work; `mode` is None if it commits."""
    message = "the connection was used after the command had ended"
    why = "the statement was refused, because the transaction has ended"
    try_ = "await every task that the command starts"
    if mode is None:
        return CommandError(message, why=why, try_=try_, code="used-too-late")
    kind = ReadOnlyViolation if mode is Mode.READ_ONLY else DryRunViolation
    return kind(message, why=why, try_=try_)


_LEAVE_IT = "remove the statement: the executor ends the transaction; session.commit() is allowed"
