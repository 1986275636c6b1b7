"""Other SQLAlchemy engines in the process, read-only while a dry run or a reading command goes on.

The transaction of the run can be rolled back; what a service writes through an engine of its own
can't. So the database refuses it: with SET TRANSACTION READ ONLY at each BEGIN, or PRAGMA
query_only. Nothing outlives a transaction on PostgreSQL, for behind a pooler the session may be
another client's tomorrow.

A context variable limits it to the tasks of the run: a web application that calls a command goes
on writing for its users. Out of sight are drivers used without SQLAlchemy (the raw connection of an
engine on asyncpg or SQLite is in sight), threads started without the run's context, and other
processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from oneoff.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.mode import Mode
from oneoff.resources.database import EXEMPT
from oneoff.resources.database_errors import is_read_only_error, read_only_error

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

_QUERY_ONLY = "oneoff_query_only"
_AUTOCOMMIT = "oneoff_autocommit"


class Protection:
    """One stretch of a run in which other engines are read-only.

    Attributes:
        refused: The first write that was refused, though the command may have swallowed the error.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None

    def note(self, connection: Connection | None) -> None:
        """Remember a refused write; on the run's own connection only where it may not write."""
        own = connection is not None and connection.info.get(EXEMPT)
        if self.refused is not None or (own and self.mode is Mode.ROLLBACK):
            return
        url = connection.engine.url.render_as_string(hide_password=True) if connection else ""
        self.refused = read_only_error() if own else _wrote_elsewhere(self.mode, url)


_protection: ContextVar[Protection | None] = ContextVar("oneoff_protection", default=None)


@contextmanager
def read_only_engines(mode: Mode) -> Iterator[Protection]:
    """Make every engine read-only for the code run inside, and for the tasks it starts.

    Connections of `Database.connect` with a role other than "work" are exempt: the run's own
    record and locks.
    """
    _listen()
    before, protection = _protection.get(), Protection(mode)
    _protection.set(protection)
    try:
        yield protection
    finally:
        _protection.set(before)


def _listen() -> None:
    if event.contains(Engine, "begin", _on_begin):
        return
    event.listen(Pool, "checkout", _on_checkout)
    event.listen(Pool, "checkin", _on_checkin)
    event.listen(Engine, "engine_connect", _on_connect)
    event.listen(Engine, "set_connection_execution_options", _on_execution_options)
    event.listen(Engine, "begin", _on_begin)
    event.listen(Engine, "handle_error", _on_error)


def _on_checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Catch what never sends BEGIN through SQLAlchemy: the raw driver connection."""
    if _protection.get() is None or record.info.get(EXEMPT):
        return
    if _is_sqlite(connection):
        _execute(connection, "PRAGMA query_only=ON")
        record.info[_QUERY_ONLY] = True
    elif _is_asyncpg(connection):
        _execute(connection, "SET TRANSACTION READ ONLY")


def _on_connect(connection: Connection) -> None:
    if _is_protected(connection) and _leave_autocommit(connection):
        driver: Any = connection.connection.dbapi_connection
        _execute(driver, "SET TRANSACTION READ ONLY")


def _on_checkin(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    """Give the pool back a connection as it was."""
    if record.info.pop(_QUERY_ONLY, False) and connection is not None:
        _execute(connection, "PRAGMA query_only=OFF")
    restore = record.info.pop(_AUTOCOMMIT, None)
    if restore is not None and connection is not None:
        restore.set_isolation_level(connection, "AUTOCOMMIT")


def _on_execution_options(connection: Connection, options: dict[str, Any]) -> None:
    if "isolation_level" not in options or not _is_protected(connection):
        return
    if options["isolation_level"] == "AUTOCOMMIT" and connection.dialect.name == "postgresql":
        # Without a transaction nothing could be read-only; SELECT doesn't know the difference.
        del options["isolation_level"]
    else:
        # The level can't be changed in the transaction that was begun at checkout.
        connection.connection.rollback()


def _on_begin(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if not _is_protected(connection):
        if sqlite and connection.info.pop(_QUERY_ONLY, False):
            connection.exec_driver_sql("PRAGMA query_only=OFF")
    elif sqlite:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.info[_QUERY_ONLY] = True
    elif connection.dialect.name == "postgresql":
        _leave_autocommit(connection)
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _leave_autocommit(connection: Connection) -> bool:
    """Put what would commit itself into a transaction; return whether it was so."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "postgresql" or not getattr(driver, "autocommit", False):
        return False
    connection.dialect.set_isolation_level(driver, "READ COMMITTED")
    connection.info[_AUTOCOMMIT] = connection.dialect
    return True


def _on_error(context: ExceptionContext) -> None:
    protection = _protection.get()
    if protection is not None and is_read_only_error(context.original_exception):
        protection.note(context.connection)


def _wrote_elsewhere(mode: Mode, url: str) -> CommandError:
    kind = DryRunViolation if mode is Mode.ROLLBACK else ReadOnlyViolation
    return kind(
        f"something wrote through another connection, to {url or 'a database'}",
        why="it was refused: a rollback of this run could not have undone it",
        try_="use the session that the command gets",
    )


def _is_protected(connection: Connection) -> bool:
    return _protection.get() is not None and not connection.info.get(EXEMPT)


def _is_sqlite(connection: object) -> bool:
    return "sqlite" in type(connection).__module__


def _is_asyncpg(connection: object) -> bool:
    return "asyncpg" in type(connection).__module__


def _execute(connection: DBAPIConnection, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
