"""The guard on PostgreSQL, in two layers.

The driver's connection refuses every statement that would end the transaction, and every statement
after it ended all the same. Behind it stands the server: an open cursor makes any COMMIT fail,
whoever sends it.
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
    is_only_control,
    statement_that_ends,
    statement_that_lets_go,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A commit computes what is left of a cursor WITH HOLD, and this one can't be computed: the commit
# fails. Cheaper than the deferred constraint of a temporary table (0.4 against 1.6 ms), needs no
# privilege, and doesn't fire at a command's own SET CONSTRAINTS ALL IMMEDIATE. random() keeps the
# server from computing it at once.
_GUARD = f"""
DECLARE {CURSOR} NO SCROLL CURSOR WITH HOLD FOR
SELECT ('oneoff: a dry run can only be rolled back ' || random())::int
"""
# Without the cursor it is an error; with it, nothing is computed.
_IS_GUARDED = f"MOVE 0 FROM {CURSOR}"

_TAKES_SQL = (
    "execute executemany fetch fetchval fetchrow fetchmany prepare cursor copy_from_query".split()
)
_TAKES_TABLE = "copy_from_table copy_to_table copy_records_to_table".split()


class GuardedConnection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection whose transaction can be held fast.

    Attributes:
        held: The mode it is held in; None while it may be ended.
        ending: Whether the executor is rolling back: after that nothing passes any more.
        refused: The first attempt to end it.
    """

    held: Mode | None = None
    ending: bool = False
    refused: CommandError | None = None

    def check(self, sql: str) -> None:
        """Refuse what would end the transaction, and what comes after it ended."""
        if self.held is None:
            return
        error = self._refusal(sql, self.held)
        if error is not None:
            self.refused = self.refused or error
            raise error

    def _refusal(self, sql: str, mode: Mode) -> CommandError | None:
        if self.ending and not self.is_in_transaction():
            return self.refused or too_late(mode)
        how = statement_that_ends(sql)
        if self.ending and how == "ROLLBACK" and is_only_control(sql):
            return None
        if mode is Mode.ROLLBACK:
            how = how or statement_that_lets_go(sql)
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
    """Have the methods of `cls` that send something call its `check` before."""
    for name in {*_TAKES_SQL, *_TAKES_TABLE}.difference(but):
        if hasattr(asyncpg.Connection, name):  # fetchmany is new in 0.30
            setattr(cls, name, _checked(name, takes_sql=name in _TAKES_SQL))


guard_methods(GuardedConnection)


class PostgresGuard(Guard):
    """Holds a transaction of a `GuardedConnection`."""

    def __init__(self, connection: AsyncConnection, mode: Mode) -> None:
        super().__init__(connection, mode)
        self._driver: GuardedConnection | None = None

    async def arm(self) -> None:
        """Begin, and let neither the server nor the driver end it."""
        if self.mode is Mode.READ_ONLY:
            await self.connection.execution_options(postgresql_readonly=True)
            # After a first query the server refuses SET TRANSACTION READ WRITE.
            await self.connection.exec_driver_sql("SELECT 1")
        raw = await self.connection.get_raw_connection()
        self._driver = cast("GuardedConnection", raw.driver_connection)
        if self.mode is Mode.ROLLBACK:
            await self._driver.execute(_GUARD)
        self._driver.held = self.mode

    async def release(self) -> None:
        """Let ROLLBACK pass, and nothing after it: a task that was left behind may go on."""
        driver = self._driver
        if driver is None or driver.ending:
            return
        if driver.held and not driver.is_in_transaction() and not driver.is_closed():
            driver.refused = driver.refused or ended(self.mode)
        driver.ending = True

    def violation(self) -> CommandError | None:
        """Return the first refusal."""
        return self._driver.refused if self._driver else None

    async def check(self) -> None:
        """Look for the cursor: it lives and dies with the transaction."""
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
        """Check now what is deferred to the commit."""
        if self._driver is not None:
            await self._driver.execute("SET CONSTRAINTS ALL IMMEDIATE")
