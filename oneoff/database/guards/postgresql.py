"""Guard a transaction on PostgreSQL, in two layers.

The driver's connection refuses every statement that would end the transaction, and every statement
once it has ended nevertheless. The second layer is in the server: an open cursor makes any COMMIT
fail, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.database.guards.base import Guard, ended, refusal, too_late
from oneoff.database.guards.sql_statements import (
    CURSOR,
    cursor_closing_statement,
    ending_statement,
    is_only_control,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# At COMMIT the server computes the remaining rows of every cursor WITH HOLD, to keep them for the
# session. The row of this cursor can't be computed (a text that is no number, cast to int), so
# COMMIT fails and the transaction is rolled back. random() is volatile, which keeps the planner
# from computing the row already at DECLARE.
# A deferred constraint on a temporary table would do the same, but it costs more (1.6 instead of
# 0.4 ms), needs the privilege to create one, and fails early when a command says SET CONSTRAINTS
# ALL IMMEDIATE.
_GUARD = f"""
DECLARE {CURSOR} NO SCROLL CURSOR WITH HOLD FOR
SELECT ('oneoff: a dry run can only be rolled back ' || random())::int
"""
# Fails if the cursor is gone, and with it the transaction; moving by 0 rows computes none.
_IS_GUARDED = f"MOVE 0 FROM {CURSOR}"

_TAKES_SQL = (
    "execute executemany fetch fetchval fetchrow fetchmany prepare cursor copy_from_query".split()
)
_TAKES_TABLE = "copy_from_table copy_to_table copy_records_to_table".split()


class GuardedConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection that refuses to end its transaction while it is guarded.

    Attributes:
        guarded_mode: The mode of the run; None before the transaction is guarded.
        released: Whether the executor is rolling back. ROLLBACK passes then, and nothing after it.
        refused: The error for the first attempt to end the transaction.
    """

    guarded_mode: Mode | None = None
    released: bool = False
    refused: CommandError | None = None

    def check(self, sql: str) -> None:
        """Refuse what would end the transaction, and what comes after it ended."""
        if self.guarded_mode is None:
            return
        error = self._refusal(sql, self.guarded_mode)
        if error is not None:
            self.refused = self.refused or error
            raise error

    def _refusal(self, sql: str, mode: Mode) -> CommandError | None:
        if self.released and not self.is_in_transaction():
            return self.refused or too_late(mode)
        how = ending_statement(sql)
        if self.released and how == "ROLLBACK" and is_only_control(sql):
            return None
        if mode is Mode.ROLLBACK:
            how = how or cursor_closing_statement(sql)
        if how:
            return refusal(mode, how)
        return None if self.is_in_transaction() else ended(mode)


def _checked(name: str, *, takes_sql: bool) -> Callable[..., Any]:
    original = getattr(asyncpg.Connection, name)

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.check(kwargs.get("query") or args[0] if takes_sql else "")
        return original(self, *args, **kwargs)

    return method


def guard_methods(cls: type[asyncpg.Connection], but: Collection[str] = ()) -> None:
    """Make the methods of `cls` that send statements call its `check` first."""
    for name in {*_TAKES_SQL, *_TAKES_TABLE}.difference(but):
        if hasattr(asyncpg.Connection, name):  # fetchmany is new in 0.30
            setattr(cls, name, _checked(name, takes_sql=name in _TAKES_SQL))


guard_methods(GuardedConnection)


class PostgresGuard(Guard):
    """Guards a transaction of a `GuardedConnection`."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: GuardedConnection | None = None

    async def arm(self) -> None:
        """Begin the transaction, and make the server and the driver refuse to end it."""
        if self.mode is Mode.READ_ONLY:
            await self.connection.execution_options(postgresql_readonly=True)
            # Once a query has run, the server refuses SET TRANSACTION READ WRITE.
            await self.connection.exec_driver_sql("SELECT 1")
        raw = await self.connection.get_raw_connection()
        self._driver = cast("GuardedConnection", raw.driver_connection)
        if self.mode is Mode.ROLLBACK:
            await self._driver.execute(_GUARD)
        self._driver.guarded_mode = self.mode

    async def release(self) -> None:
        """Let ROLLBACK pass, and nothing after it: a task of the command may still be running."""
        driver = self._driver
        if driver is None or driver.released:
            return
        if driver.guarded_mode and not driver.is_in_transaction() and not driver.is_closed():
            driver.refused = driver.refused or ended(self.mode)
        driver.released = True

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._driver.refused if self._driver else None

    async def check(self) -> None:
        """Look for the cursor, which exists exactly as long as the transaction."""
        violation = self.violation()
        if violation is not None:
            raise violation
        if self._driver is None or not self._driver.is_in_transaction():
            raise ended(self.mode)
        try:
            await self._driver.execute(_IS_GUARDED)
        except asyncpg.InvalidCursorNameError:
            raise ended(self.mode) from None

    async def check_constraints(self) -> None:
        """Check now the constraints that are deferred to the commit."""
        if self._driver is not None:
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
