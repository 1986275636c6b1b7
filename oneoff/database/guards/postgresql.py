"""Guard a transaction on PostgreSQL, in two layers.

The driver's connection refuses each statement that would end the transaction, and all statements if
the transaction has ended nevertheless. The second layer is in the server: an open cursor makes each
COMMIT fail, even one that bypasses the first layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.database.asyncpg_adapter import begin
from oneoff.database.asyncpg_connection import RunConnection
from oneoff.database.guards.base import Guard, ended, refusal, too_late
from oneoff.database.guards.sql_statements import (
    ANY_QUERY,
    CURSOR,
    cursor_closing_statement,
    ending_statement,
    is_only_control,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# At COMMIT, the server computes the remaining rows of each cursor WITH HOLD, to keep them for the
# session. The row of this cursor can't be computed (it casts a text that is not a number to int),
# so COMMIT fails and the transaction is rolled back. random() is volatile; without it, the planner
# would compute the row at DECLARE.
# A deferred constraint on a temporary table would also work, but it costs more (1.6 instead of
# 0.4 ms), needs the privilege to create such a table, and fails too early if a command sends SET
# CONSTRAINTS ALL IMMEDIATE.
_GUARD = f"""
DECLARE {CURSOR} NO SCROLL CURSOR WITH HOLD FOR
SELECT ('oneoff: a dry run can only be rolled back ' || random())::int;
"""
# This fails if the cursor does not exist, because the transaction that declared it has ended. To
# move by 0 rows computes no row.
_IS_GUARDED = f"MOVE 0 FROM {CURSOR}"

# The methods of an asyncpg connection that send statements, by what they take.
_TAKES_SQL = (
    "execute executemany fetch fetchval fetchrow fetchmany prepare cursor copy_from_query".split()
)
_TAKES_TABLE = "copy_from_table copy_to_table copy_records_to_table".split()


_keeps: ContextVar[bool] = ContextVar("oneoff_keeps_connection", default=False)
"""Whether this task is the one that called `keep_for_this_task`."""


class GuardedConnection(RunConnection):
    """The connection of a run's work; it refuses to end its transaction while that is guarded.

    Attributes:
        guarded_mode: The mode of the run; None before the transaction is guarded, and in runs that
            commit.
        kept: Whether only the task that called `keep_for_this_task` may use it.
        released: Whether the executor is rolling back. Then ROLLBACK is allowed, and nothing after
            it.
        refused: The error for the first attempt to end the transaction.
    """

    guarded_mode: Mode | None = None
    kept: bool = False
    released: bool = False
    refused: CommandError | None = None

    def check(self, sql: str) -> None:
        """Refuse a statement that would end the transaction, or that comes after its end."""
        if self.kept:
            if not _keeps.get():
                raise self.refused or too_late(self.guarded_mode)
            return
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


def keep_for_this_task(connection: GuardedConnection) -> None:
    """Refuse all statements from now on, except those of this task: the work has ended."""
    connection.kept = True
    _keeps.set(True)


def _checked(cls: type[asyncpg.Connection], name: str, *, takes_sql: bool) -> Callable[..., Any]:
    original = getattr(cls, name)

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.check(kwargs.get("query") or args[0] if takes_sql else "")
        return original(self, *args, **kwargs)

    return method


def guard_methods(cls: type[asyncpg.Connection], but: Collection[str] = ()) -> None:
    """Make the methods of `cls` that send statements, except `but`, call its `check` first."""
    for name in {*_TAKES_SQL, *_TAKES_TABLE}.difference(but):
        if hasattr(asyncpg.Connection, name):  # fetchmany exists since 0.30
            setattr(cls, name, _checked(cls, name, takes_sql=name in _TAKES_SQL))


guard_methods(GuardedConnection)


class PostgresGuard(Guard):
    """Guards a transaction of a `GuardedConnection`."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: GuardedConnection | None = None

    async def arm(self) -> None:
        """Begin the transaction, and make the server and the driver refuse to end it."""
        raw = await self.connection.get_raw_connection()
        self._driver = cast("GuardedConnection", raw.driver_connection)
        if self.mode is Mode.READ_ONLY:
            await self.connection.execution_options(postgresql_readonly=True)
            # After the first query, the server refuses SET TRANSACTION READ WRITE.
            self._driver.after_begin += f"{ANY_QUERY};"
        else:
            self._driver.after_begin += _GUARD
        await begin(self.connection)
        # From here on, the driver's connection refuses statements.
        self._driver.guarded_mode = self.mode

    async def release(self) -> None:
        """Allow ROLLBACK, and nothing after it: a task of the command may still be running."""
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
        """Check that the cursor exists, which lives exactly as long as the transaction."""
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
        """Check the constraints that are deferred to the commit."""
        if self._driver is not None:
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
