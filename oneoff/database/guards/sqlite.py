"""Guard a transaction on SQLite with an authorizer, which SQLite calls to compile a statement.

COMMIT, ROLLBACK and BEGIN are refused: in SQL, from the driver's `commit()`, and if `executescript`
sends its own COMMIT. Savepoints are allowed.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.database.errors import constraint_error
from oneoff.database.guards.base import Guard, ended, refusal, too_late

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A foreign key is deferred if its table declares it so, or if the PRAGMA defers all of them.
_HAS_DEFERRED = """
SELECT (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys)
    OR EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY%DEFERRED%')
"""
_READS = {
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_PRAGMA,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_SELECT,
}
_DANGLING = "SELECT * FROM pragma_foreign_key_check"


class SQLiteGuard(Guard):
    """Guards a transaction of an aiosqlite connection."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: Any = None
        self._refused: CommandError | None = None
        self._released = False

    async def arm(self) -> None:
        """Begin the transaction, and let the authorizer check all later statements."""
        if self.mode is Mode.READ_ONLY:
            await self.connection.exec_driver_sql("PRAGMA query_only=ON")
        # Any statement makes SQLAlchemy send BEGIN, which the authorizer would refuse later.
        await self.connection.exec_driver_sql("SELECT 1")
        self._driver = (await self.connection.get_raw_connection()).driver_connection
        await self._driver.set_authorizer(self._authorize)

    async def release(self) -> None:
        """Allow ROLLBACK; tasks that are still running can't write anything after it."""
        if self._driver is not None and not self._released and self._was_ended():
            self._refused = self._refused or ended(self.mode)
        self._released = True

    def _was_ended(self) -> bool:
        try:
            return not self._driver.in_transaction
        except ValueError:  # a cancelled statement has closed and so rolled back the connection
            return False

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._refused

    async def check(self) -> None:
        """Raise the first refusal, or an error if the transaction has ended.

        INSERT OR ROLLBACK ends it without a call of the authorizer, so ask the driver.
        """
        if self._refused is not None:
            raise self._refused
        if not self._driver.in_transaction:
            raise ended(self.mode)

    async def check_constraints(self) -> None:
        """Raise an error for references that the run left dangling.

        SQLite checks deferred foreign keys only at COMMIT. It does not refuse a commit because of
        references that were dangling before (from rows written with foreign keys off), so those
        are ignored here too.
        """
        if not (await self.connection.exec_driver_sql(_HAS_DEFERRED)).scalar_one():
            return
        dangling = await self._dangling()
        if dangling:
            # The rollback restores the state before the run, to compare with.
            await self.release()
            await self.connection.rollback()
            dangling -= await self._dangling()
        if dangling:
            tables = ", ".join(sorted({row[0] for row in dangling}))
            raise constraint_error("FOREIGN KEY constraint", tables)

    async def _dangling(self) -> set[tuple[Any, ...]]:
        # Use the driver, because SQLAlchemy would begin a new transaction after the rollback.
        return {tuple(row) for row in await self._driver.execute_fetchall(_DANGLING)}

    def _authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Answer SQLite, which calls this in the driver's thread for each action of a statement."""
        error = self._refusal(action, first, second)
        if error is None:
            return sqlite3.SQLITE_OK
        self._refused = self._refused or error
        return sqlite3.SQLITE_DENY

    def _refusal(self, action: int, first: str | None, second: str | None) -> CommandError | None:
        if action == sqlite3.SQLITE_TRANSACTION:
            allowed = self._released and first == "ROLLBACK"
            return None if allowed else refusal(self.mode, first or "")
        if switches_query_only(action, first, second):
            return refusal(self.mode, f"PRAGMA query_only={second}")
        if action in _READS or self._driver.in_transaction:
            return None
        # INSERT OR ROLLBACK has ended the transaction, so this write would be saved.
        return too_late(self.mode) if self._released else ended(self.mode)


def switches_query_only(action: int, first: str | None, second: str | None) -> bool:
    """Return whether the arguments of an authorizer are a PRAGMA that sets query_only."""
    is_pragma = action == sqlite3.SQLITE_PRAGMA and second is not None
    return is_pragma and (first or "").lower() == "query_only"
