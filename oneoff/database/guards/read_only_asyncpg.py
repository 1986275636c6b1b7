"""An asyncpg connection of the application's own, read-only while a run is protected.

Whoever begins a transaction on it, SQLAlchemy or the code that took the driver's connection, the
transaction reads only; and nothing passes without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg

from oneoff.database.guards.postgresql import guard_methods
from oneoff.database.guards.sql_statements import (
    A_QUERY,
    READ_ONLY,
    is_only_control,
    statement_that_ends,
)

Refuse = Callable[[str], Exception]


class ReadOnlyConnection(asyncpg.Connection):  # type: ignore[misc]
    """What an `asyncpg.Connection` is made by `hold`; without slots of its own, so that it can."""

    __slots__ = ()

    def check(self, sql: str) -> None:
        """Refuse what would leave the transaction, and what comes when there is none."""
        if statement_that_ends(sql) or not self.is_in_transaction():
            raise _refuse[self](sql)

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Run `query`; a transaction that it begins is read-only from its first statement."""
        if not is_only_control(query):
            self.check(query)
            return await super().execute(query, *args, **kwargs)
        status = await super().execute(query, *args, **kwargs)
        if self.is_in_transaction():
            await super().execute(f"{READ_ONLY}; {A_QUERY}")
        return status


guard_methods(ReadOnlyConnection, but={"execute"})
_refuse: WeakKeyDictionary[asyncpg.Connection, Refuse] = WeakKeyDictionary()


# asyncpg redefines isinstance for its connections; hence `type`.
def hold(driver: object, refuse: Refuse) -> None:
    """Make the connection read-only, also one that was in a pool before.

    Args:
        driver: A connection of a class of the application's own is left as it is.
        refuse: Gets a statement, and returns the error for it.
    """
    if type(driver) is asyncpg.Connection:
        driver.__class__ = ReadOnlyConnection
    if type(driver) is ReadOnlyConnection:
        _refuse[driver] = refuse


def let_go(driver: Any) -> None:
    """Make the connection what it was."""
    if type(driver) is ReadOnlyConnection:
        del _refuse[driver]
        object.__setattr__(driver, "__class__", asyncpg.Connection)
