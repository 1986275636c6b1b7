"""Lock keys between processes: only one run at a time can hold a key of a database.

On PostgreSQL, the locks are in the server (`postgresql.py`), on SQLite in a file next to the
database (`sqlite.py`). The server or the kernel releases them when the process dies. A process that
waits for a lock polls, and has no statement open between two attempts: CREATE INDEX CONCURRENTLY
waits for all open statements, and would wait for that one indefinitely.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from oneoff.core.errors import LockBusy
from oneoff.database.locks.base import HeldLock, Lock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

_FIRST_PAUSE = 0.1  # seconds between two attempts
_LONGEST_PAUSE = 1.0


def make_lock(database: Database, key: str) -> Lock:
    """Return the lock of this key in this database; it is not held yet."""
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
        lock: The lock to take.
        wait: Seconds to wait at most; 0 tries once.
        on_wait: Called once, before the first pause.
        clock: Returns monotonic seconds.
        sleep: Pauses for some seconds.

    Raises:
        LockBusy: The lock was not released in time; the message names the run that holds it.
    """
    deadline = clock() + wait
    pause = _FIRST_PAUSE
    try:
        while not await lock.try_acquire():
            remaining = deadline - clock()
            if remaining <= 0:
                raise await _busy(lock, wait)
            if on_wait is not None:
                on_wait()
                on_wait = None
            await sleep(min(pause, remaining))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except BaseException:
        # A cancelled or failed attempt must not leave the lock or its connection behind.
        await lock.release()
        raise
    return HeldLock(lock)


async def describe_holder(lock: Lock, connection: AsyncConnection) -> str:
    """Return a description of the lock's holder from the runs table; empty if the lock is free.

    For example: "run 20260131T093000-... (db migrate, by ada on web-1)". The connection is only
    read. It may be in an aborted transaction afterwards.
    """
    from oneoff.database.locks.holders import list_lock_holders

    held = await list_lock_holders(connection, lock.database, lambda _: "", known=(lock.key,))
    holder = next((one for one in held if one["lock"] == lock.key), None)
    if holder is None or not holder["run_id"]:
        return "another process" if holder else ""
    about = " ({command}, by {operator} on {host})" if holder["command"] else ""
    return f"run {holder['run_id']}{about.format_map(holder)}"


async def hold_for_transaction(connection: AsyncConnection, database: Database, key: str) -> None:
    """Hold a free lock until the connection's next commit or rollback, or the end of the process.

    It is for keys that no other process takes: others only check with `is_free` whether the holder
    is alive.
    """
    await make_lock(database, key).hold_in(connection)


async def hold_both(
    connection: AsyncConnection, database: Database, key: str, lock: str
) -> HeldLock | None:
    """Hold a lock as `hold_for_transaction` does, with another one; PostgreSQL only.

    Returns:
        The other lock; None if it is not free.
    """
    from oneoff.database.locks.postgresql import PostgresLock

    own, other = PostgresLock(database, key), PostgresLock(database, lock)
    return HeldLock(other) if await own.hold_with(other, connection) else None


async def hold_from_begin(connection: AsyncConnection, database: Database, key: str) -> None:
    """Hold a free lock in the transaction that the connection begins next; PostgreSQL only."""
    from oneoff.database.locks.postgresql import PostgresLock

    await PostgresLock(database, key).hold_from_begin(connection)


async def is_free(connection: AsyncConnection, database: Database, key: str) -> bool:
    """Return whether the lock is free. PostgreSQL then holds it until the transaction ends."""
    return await make_lock(database, key).is_free_in(connection)


async def _busy(lock: Lock, wait: float) -> LockBusy:
    async with lock.database.connect("lock") as connection:
        holder = await describe_holder(lock, connection) or "a run that just ended"
    return LockBusy(
        f"the lock {lock.key!r} is held by {holder}",
        why=f"it was not released within {wait:g} s",
        try_="run the command again, or wait longer with --lock-wait=5m",
    )
