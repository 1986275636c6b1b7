"""What every kind of lock can do, and what a command gets of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database


class Lock(ABC):
    """One key of one database, held by at most one process."""

    def __init__(self, database: Database, key: str) -> None:
        self.database = database
        self.key = key

    @abstractmethod
    async def try_acquire(self) -> bool:
        """Take the lock if it is free; never waits."""

    @abstractmethod
    async def check(self) -> None:
        """Make sure that the lock is still held.

        Raises:
            LockLost: It is not; the work it protects must stop now.
        """

    @abstractmethod
    async def release(self) -> None:
        """Give the lock back; harmless when it is not held."""

    @abstractmethod
    async def holder(self) -> str | None:
        """Return the id of the run that holds the lock, without trying to take it.

        None when nobody holds it; an empty text when it can't be told who does.
        """

    @abstractmethod
    async def hold_in(self, connection: AsyncConnection) -> None:
        """Hold the lock until the next commit or rollback of somebody else's connection."""

    @abstractmethod
    async def is_free_in(self, connection: AsyncConnection) -> bool:
        """Return whether nobody holds the lock, in a transaction of that connection."""


class HeldLock:
    """A lock that was acquired: what a command gets by asking for `lock`."""

    def __init__(self, lock: Lock) -> None:
        self.key = lock.key
        self._lock = lock

    async def check(self) -> None:
        """Raise LockLost unless the lock is still held; call it before each step of the work."""
        await self._lock.check()

    async def release(self) -> None:
        """Give the lock back."""
        await self._lock.release()
