"""Make an asyncpg connection of the application read-only during a protected run.

Each transaction on it is read-only, even if code starts it on the driver's connection instead of
through SQLAlchemy. Statements outside of a transaction are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg

from oneoff.database.asyncpg_connection import RunConnection
from oneoff.database.guards.postgresql import guard_methods
from oneoff.database.guards.sql_statements import (
    ANY_QUERY,
    READ_ONLY,
    ending_statement,
    is_only_control,
    starts_transaction,
)

Refuse = Callable[[str], Exception]


_Mixin: Any = object  # for type checkers: its methods are those of the class it is mixed with


class _ReadOnly(_Mixin):  # type: ignore[misc]
    """Makes a class of connections read-only."""

    # Python can change the class of an object only between classes with the same slots.
    __slots__ = ()

    def check(self, sql: str) -> None:
        """Refuse a statement that would end the transaction, or that comes outside of one."""
        if ending_statement(sql) or not self.is_in_transaction():
            raise _refuse[self](sql)

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        """Run `query`; a transaction that it starts is read-only from its first statement."""
        if not is_only_control(query):
            self.check(query)
        elif starts_transaction(query):  # and perhaps a transaction that may write
            query = f"{query}; {READ_ONLY}; {ANY_QUERY};"
        return await super().execute(query, *args, **kwargs)


class ReadOnlyConnection(_ReadOnly, asyncpg.Connection):  # type: ignore[misc]
    """The class that `make_read_only` gives to an `asyncpg.Connection`."""

    __slots__ = ()


class ReadOnlyRunConnection(_ReadOnly, RunConnection):
    """The class that it gives to a connection of the run's own engine."""

    __slots__ = ()


_READ_ONLY: dict[type, type] = {
    asyncpg.Connection: ReadOnlyConnection,
    RunConnection: ReadOnlyRunConnection,
}
_WRITABLE = {read_only: writable for writable, read_only in _READ_ONLY.items()}
for _read_only in _WRITABLE:
    guard_methods(_read_only, but={"execute"})
_refuse: WeakKeyDictionary[asyncpg.Connection, Refuse] = WeakKeyDictionary()


# `type`, because asyncpg redefines isinstance for its connections.
def make_read_only(driver: Any, refuse: Refuse) -> bool:
    """Make a connection read-only, even if it was opened before the run.

    Args:
        driver: The connection. It is not changed if it has a class of the application's own.
        refuse: Returns the error for a statement.

    Returns:
        Whether all its transactions are read-only: False if one is open that began before, or if
        the connection was not changed.
    """
    began_before = False
    if type(driver) in _READ_ONLY:
        began_before = driver.is_in_transaction()
        driver.__class__ = _READ_ONLY[type(driver)]
    if type(driver) not in _WRITABLE:
        return False
    _refuse[driver] = refuse
    return not began_before


def make_writable(driver: Any) -> None:
    """Undo `make_read_only`."""
    if type(driver) in _WRITABLE:
        del _refuse[driver]
        object.__setattr__(driver, "__class__", _WRITABLE[type(driver)])
