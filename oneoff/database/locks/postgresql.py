"""Lock with the advisory lock of an idle transaction, on a separate connection.

Behind pgbouncer in transaction mode, a session-level lock would stay with the server connection
that took it. It would not be released, or another client that gets the same connection would hold
it too. A transaction keeps its server connection until it ends, and its locks end with it.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from oneoff.core.errors import LockLost
from oneoff.database.asyncpg_adapter import begin, driver_of
from oneoff.database.locks.base import Lock
from oneoff.database.roles import lock_role

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

CHECK_TIMEOUT = 10.0
"""Seconds after which a lock's connection that does not answer counts as lost."""

# With REPEATABLE READ, which may be the role's default, the transaction would keep its first
# snapshot until it ends, and VACUUM and CREATE INDEX CONCURRENTLY would wait for it.
_BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
_TRY = "SELECT pg_try_advisory_xact_lock($1)"
# When a client is killed, its lock connection ends at once, which releases the lock. But the
# backend of its work continues to the end of its statement. If another run took the lock then, two
# runs would work at the same time. The application_name of a connection whose work is protected by
# a lock is "oneoff/lock:<key>/<run id>" (see `lock_role`). So the lock counts as busy while such a
# connection of another run is not idle.
_TRY_WITHOUT_ORPHANS = """
CASE WHEN NOT pg_try_advisory_xact_lock({number}) THEN false ELSE NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND state <> 'idle'
      AND starts_with(application_name, {role}) AND application_name <> {own}
) END
"""
_TAKEN = "SELECT 1"
"""The server's answer to `try_as_text` if the lock was taken: it has returned one row."""
# These stop the server from ending the idle transaction. They need no snapshot, as a SELECT does,
# for which CREATE INDEX CONCURRENTLY would wait.
_KEEP = "SET LOCAL idle_in_transaction_session_timeout = 0"
_KEEP_LONG = "SET LOCAL transaction_timeout = 0"
_TRANSACTION_TIMEOUT_SINCE = (17,)  # version of PostgreSQL


class PostgresLock(Lock):
    """An advisory lock that can't be taken while the orphan of a killed holder is still running."""

    def __init__(self, database: Database, key: str) -> None:
        super().__init__(database, key)
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection | None = None
        self._holds = False

    async def try_acquire(self) -> bool:
        """Take the lock if it is free and no backend of an earlier holder is still running."""
        if self._connection is None:
            self._connection = await self._stack.enter_async_context(self.database.connect("lock"))
        connection = self._connection
        driver = await driver_of(connection)
        driver.after_begin = f"{_BEGIN};{_keep(connection)}{self.try_as_text()}"
        await begin(connection)
        self._holds = driver.begun_with == _TAKEN
        if not self._holds:
            await connection.rollback()
        return self._holds

    async def check(self) -> None:
        """Ask the server over the lock's own connection, without taking a snapshot."""
        from sqlalchemy.exc import DBAPIError

        if self._connection is None or not self._holds:
            raise _lost(self.key)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._connection.exec_driver_sql(_KEEP)
        except (DBAPIError, OSError, TimeoutError) as exc:
            raise _lost(self.key) from exc

    async def release(self) -> None:
        """End the transaction by closing the connection."""
        from sqlalchemy.exc import SQLAlchemyError

        self._connection, self._holds = None, False
        # If the connection is broken, the lock is already released.
        with suppress(SQLAlchemyError, OSError):
            await self._stack.aclose()

    async def hold_with(self, other: PostgresLock, connection: AsyncConnection) -> bool:
        """Take the lock as `hold_in` does, and another one; return False if that is not free."""
        await self.hold_in(connection, other.try_as_text())
        if (await driver_of(connection)).begun_with == _TAKEN:
            other._connection, other._holds = connection, True
            return True
        # If an orphan is running, the transaction has taken the other lock nevertheless.
        await connection.rollback()
        await self.hold_in(connection)
        return False

    async def hold_in(self, connection: AsyncConnection, more: str = "") -> None:
        """Take the lock in a new transaction of the connection, and leave the transaction idle."""
        # All statements are one message. CREATE INDEX CONCURRENTLY looks once for transactions with
        # a snapshot, and then waits until these have ended, even if they dropped the snapshot. This
        # transaction may last while the run waits for another lock. So its snapshot must be dropped
        # within the same message, not one round trip later.
        driver = await driver_of(connection)
        driver.after_begin = f"{_BEGIN};{_keep(connection)}"
        await self.hold_from_begin(connection)
        driver.after_begin += more
        await begin(connection)

    def try_as_text(self) -> str:
        """Return SQL that takes the lock; the server answers `_TAKEN` if that worked."""
        role = f"oneoff/{lock_role(self.key)}/"
        taken = _TRY_WITHOUT_ORPHANS.format(
            number=number_of(self.key),
            role=_quoted(role),
            own=_quoted(role + self.database.run_id),
        )
        return f"SELECT WHERE {taken};"

    async def hold_from_begin(self, connection: AsyncConnection) -> None:
        """Take the lock in the message that begins the connection's next transaction."""
        driver = await driver_of(connection)
        driver.after_begin += _TRY.replace("$1", str(number_of(self.key))) + ";"

    async def is_free_in(self, connection: AsyncConnection) -> bool:
        """Try to take the lock in this transaction; its end releases the lock."""
        answer = await connection.exec_driver_sql(_TRY, (number_of(self.key),))
        return bool(answer.scalar_one())


def _keep(connection: AsyncConnection) -> str:
    """Return what lets the transaction stay open and idle, however long the run takes."""
    version = connection.dialect.server_version_info or ()
    return f"{_KEEP_LONG};{_KEEP};" if version >= _TRANSACTION_TIMEOUT_SINCE else f"{_KEEP};"


def _quoted(text: str) -> str:
    return f"convert_from(decode('{text.encode().hex()}', 'hex'), 'UTF8')"


def number_of(key: str) -> int:
    """Return the key as the signed 64-bit number of an advisory lock."""
    digest = hashlib.blake2b(f"oneoff:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _lost(key: str) -> LockLost:
    return LockLost(
        f"the lock {key!r} was lost: its database connection is gone",
        why="another run may hold it now, so this run stopped before its next step",
        try_="run the command again; it continues where this run stopped",
    )
