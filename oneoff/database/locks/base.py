"""Define the interface of locks, and the resource `lock` of a command."""

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
        """Check that the lock is still held.

        Raises:
            LockLost: It was lost, so the work that it protects must stop.
        """

    @abstractmethod
    async def release(self) -> None:
        """Release the lock; do nothing if it is not held."""

    @abstractmethod
    async def hold_in(self, connection: AsyncConnection) -> None:
        """Hold the lock until the next commit or rollback of the caller's connection."""

    @abstractmethod
    async def is_free_in(self, connection: AsyncConnection) -> bool:
        """Return whether the lock is free, in a transaction of the caller's connection."""


class HeldLock:
    """A lock that was acquired: the resource `lock` of a command."""

    def __init__(self, lock: Lock) -> None:
        self.key = lock.key
        self._lock = lock

    async def check(self) -> None:
        """Raise `LockLost` unless the lock is still held; call it before each step of the work."""
        await self._lock.check()

    async def release(self) -> None:
        """Release the lock."""
        await self._lock.release()
