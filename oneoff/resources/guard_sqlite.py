"""The guard on SQLite: its authorizer, which sees every statement before it is compiled.

COMMIT, ROLLBACK and BEGIN are refused in SQL, by the driver's `commit()`, and where `executescript`
sends its own COMMIT; savepoints pass.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from oneoff.errors import CommandError
from oneoff.mode import Mode
from oneoff.resources.database_errors import constraint_error
from oneoff.resources.guard import Guard, ended, refusal

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_HAS_DEFERRED = """
SELECT (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys)
    OR EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY%DEFERRED%')
"""
_DANGLING = "SELECT * FROM pragma_foreign_key_check"


class SQLiteGuard(Guard):
    """Holds a transaction of an aiosqlite connection."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: Any = None
        self._refused: CommandError | None = None

    async def arm(self) -> None:
        """Begin, and have every later statement authorized."""
        if self.mode is Mode.READ_ONLY:
            await self.connection.exec_driver_sql("PRAGMA query_only=ON")
        await self.connection.exec_driver_sql("SELECT 1")
        self._driver = (await self.connection.get_raw_connection()).driver_connection
        await self._driver.set_authorizer(self._authorize)

    async def release(self) -> None:
        """Stop authorizing."""
        if self._driver is not None:
            await self._driver.set_authorizer(None)

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._refused

    async def check(self) -> None:
        """Ask the driver: INSERT OR ROLLBACK ends a transaction without saying so."""
        if self._refused is not None:
            raise self._refused
        if not self._driver.in_transaction:
            raise ended(self.mode)

    async def check_constraints(self) -> None:
        """Compare the dangling references with those of the database as it was.

        SQLite can check deferred foreign keys only by committing. What was dangling before (rows
        written with foreign keys off) stops no commit either.
        """
        if not (await self.connection.exec_driver_sql(_HAS_DEFERRED)).scalar_one():
            return
        dangling = await self._dangling()
        if dangling:
            await self.release()
            await self.connection.rollback()
            dangling -= await self._dangling()
        if dangling:
            tables = ", ".join(sorted({row[0] for row in dangling}))
            raise constraint_error("FOREIGN KEY constraint", tables)

    async def _dangling(self) -> set[tuple[Any, ...]]:
        found = await self.connection.exec_driver_sql(_DANGLING)
        return {tuple(row) for row in found.all()}

    def _authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Run in the driver's thread, once for each thing a statement wants to do."""
        what = ""
        if action == sqlite3.SQLITE_TRANSACTION:
            what = first or ""
        elif action == sqlite3.SQLITE_PRAGMA and second and (first or "").lower() == "query_only":
            what = f"PRAGMA query_only={second}"
        if not what:
            return sqlite3.SQLITE_OK
        self._refused = self._refused or refusal(self.mode, what)
        return sqlite3.SQLITE_DENY
