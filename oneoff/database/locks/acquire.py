"""Locks between processes: no two runs hold the same key of the same database at once.

PostgreSQL has them in the server (`oneoff.database.locks.postgresql`), SQLite in a file beside the database
(`oneoff.database.locks.sqlite`). Both are given back by the server or the kernel when the process dies, and
neither is ever waited for inside an open statement: a waiter polls.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from oneoff.core.errors import LockBusy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


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


def make_lock(database: Database, key: str) -> Lock:
    """Return the lock of this key in this database, not yet held."""
    if database.url.dialect == "postgresql":
        from oneoff.database.locks.postgresql import PostgresLock

        return PostgresLock(database, key)
    from oneoff.database.locks.sqlite import FileLock

    return FileLock(database, key)


async def acquire(
    lock: Lock,
    *,
    wait: float,
    on_wait: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> HeldLock:
    """Take the lock, polling until it is free.

    Args:
        lock: What to take.
        wait: Seconds to wait at most; 0 tries once.
        on_wait: Called once, before the first pause.
        clock: Monotonic seconds.
        sleep: How to pause.

    Raises:
        LockBusy: It stayed held; the message names the run that holds it.
    """
    deadline = clock() + wait
    pause = _FIRST_PAUSE
    try:
        while not await lock.try_acquire():
            left = deadline - clock()
            if left <= 0:
                raise await _busy(lock, wait)
            if on_wait is not None:
                on_wait()
                on_wait = None
            await sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except BaseException:
        await lock.release()
        raise
    return HeldLock(lock)


async def describe_holder(lock: Lock) -> str:
    """Return who holds the lock, as the runs table knows it; empty when nobody does.

    "run 20260131T093000-... (db migrate, by ada on web-1)"
    """
    run_id = await lock.holder()
    if not run_id:
        return "" if run_id is None else "another process"
    from sqlalchemy import select
    from sqlalchemy.exc import DBAPIError

    from oneoff.database.tables import runs

    try:
        async with lock.database.connect("lock") as connection:
            about = select(runs.c.command, runs.c.operator, runs.c.host).where(runs.c.id == run_id)
            row = (await connection.execute(about)).one_or_none()
    except DBAPIError:  # the run that holds it may be the one that makes the table
        row = None
    return f"run {run_id}" + (f" ({row.command}, by {row.operator} on {row.host})" if row else "")


async def hold_for_transaction(connection: AsyncConnection, database: Database, key: str) -> None:
    """Hold a free lock until the connection's next commit or rollback, or the process's end.

    Nobody else may want the key: this marks a thing as alive, it does not compete.
    """
    await make_lock(database, key).hold_in(connection)


async def is_free(connection: AsyncConnection, database: Database, key: str) -> bool:
    """Return whether nobody holds the lock; on PostgreSQL it is kept to the transaction's end."""
    return await make_lock(database, key).is_free_in(connection)


async def _busy(lock: Lock, wait: float) -> LockBusy:
    holder = await describe_holder(lock) or "a run that has just ended"
    return LockBusy(
        f"the lock {lock.key!r} is held by {holder}",
        why=f"it was not released within {wait:g} s",
        try_="run the command again, or wait longer with --lock-wait=5m",
    )
