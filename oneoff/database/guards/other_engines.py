"""Make the application's SQLAlchemy engines read-only during a dry run or a read-only run.

The transaction of the run can be rolled back, but writes of a service through its own engine can't.
So the database refuses such writes: with SET TRANSACTION READ ONLY at each BEGIN, or with PRAGMA
query_only. Statements that would switch this off are refused too. On PostgreSQL, no setting lasts
longer than a transaction, because behind a pooler another client gets the session next.

A context variable limits this to the tasks of the run, so a web application that calls a command
can still write for its users. In a process that does nothing but the run, it applies to all
threads. The raw driver connection of an engine on asyncpg or SQLite is covered. Drivers that are
used without SQLAlchemy are not covered, nor are other processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.database.errors import is_read_only_error, read_only_error
from oneoff.database.guards.sql_statements import ANY_QUERY, READ_ONLY, ending_statement
from oneoff.database.roles import EXEMPT
from oneoff.utils.context_scope import Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

# Keys in the `info` of a connection.
_QUERY_ONLY = "oneoff_query_only"  # whether PRAGMA query_only is on
_KNOWN_DIALECTS = ("postgresql", "sqlite")
_KNOWN_DRIVERS = ("asyncpg", "psycopg", "psycopg2", "pg8000", "sqlite3", "aiosqlite")
_URL = "oneoff_url"  # the URL for messages, without the password
_AUTOCOMMIT = "oneoff_autocommit"  # the dialect that restores AUTOCOMMIT at checkin


class Protection:
    """The part of a run during which other engines are read-only.

    Attributes:
        refused: The error of the first refused write; the command may have swallowed it.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None
        self._others: list[dict[str, Any]] = []  # the `info` of each connection that was used

    def add(self, info: dict[str, Any]) -> None:
        """Remember a connection that is not the run's own."""
        if not any(info is other for other in self._others):
            self._others.append(info)

    def note_error(self, exc: BaseException) -> None:
        """Store the error of a write that a driver refused without SQLAlchemy's knowledge.

        Which of the other connections wrote is not known, so the error names all of them.
        """
        if self._others and not self.refused and is_read_only_error(exc):
            self.refuse(" or ".join(dict.fromkeys(filter(None, map(_url_of, self._others)))))

    def note(self, connection: Connection | None) -> None:
        """Store the error of a refused write; on the run's own connection only in a read-only run.

        In a dry run that is rolled back, the run's own connection may write. A read-only error on
        it then comes from the server, for example from a standby.
        """
        own = connection is not None and connection.info.get(EXEMPT)
        if own and self.mode is Mode.ROLLBACK:
            return
        if own:
            self.refused = self.refused or read_only_error()
        else:
            self.refuse(_url_of(connection.info) if connection else "")

    def refuse(self, url: str = "") -> CommandError:
        """Store and return the error of an attempt to write or to switch the protection off."""
        error = _other_connection_wrote(self.mode, url)
        self.refused = self.refused or error
        return error

    def refuse_unknown(self, what: str) -> CommandError:
        """Store and return the error of a connection that can't be made read-only."""
        kind = DryRunViolation if self.mode is Mode.ROLLBACK else ReadOnlyViolation
        error = kind(
            f"the run opened a connection {what}",
            why="oneoff can make only connections to PostgreSQL and SQLite read-only",
            try_="open it only in a real run of a command with access = Access.WRITE",
        )
        self.refused = self.refused or error
        return error


_scope = Scope[Protection]("oneoff_protection")


@contextmanager
def read_only_engines(mode: Mode, *, process_wide: bool = False) -> Iterator[Protection]:
    """Make all engines read-only for the code in the block and for the tasks that it starts.

    Connections of `Database.connect` with one of `OWN_ROLES` are exempt: those of the run's record
    and locks.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`; decides which error a write raises.
        process_wide: Whether to include threads without the run's context. Set it only in a process
            that does nothing but this run.
    """
    _listen()
    with _scope.holding(Protection(mode), process_wide=process_wide) as protection:
        yield protection


def _listen() -> None:
    # The listeners stay installed. Without a protection in the current context they do nothing.
    if event.contains(Engine, "begin", _on_begin):
        return
    event.listen(Engine, "do_connect", _on_opening)
    event.listen(Pool, "checkout", _on_checkout)
    event.listen(Pool, "checkin", _on_checkin)
    event.listen(Engine, "engine_connect", _on_connect)
    event.listen(Engine, "set_connection_execution_options", _on_execution_options)
    event.listen(Engine, "begin", _on_begin)
    event.listen(Engine, "before_cursor_execute", _on_statement)
    event.listen(Engine, "handle_error", _on_error)


def _on_opening(
    dialect: Dialect, record: ConnectionPoolEntry | None, args: Any, options: dict[str, Any]
) -> None:
    """Note where a connection leads: events of a pool don't tell, nor do errors of a driver."""
    if record is not None:
        where = {"database": args[0]} if args and dialect.name == "sqlite" else options
        database = where.get("database") or where.get("dbname")
        url = URL.create(dialect.name, host=where.get("host"), database=database)
        record.info[_URL] = str(url)


def _on_checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Protect the raw driver connection, for code that uses it without SQLAlchemy's BEGIN."""
    protection = _scope.current()
    if protection is None or record.info.get(EXEMPT):
        return
    protection.add(record.info)
    if _is_sqlite(connection):
        _make_sqlite_read_only(connection, record.info, protection)
    elif _is_asyncpg(connection):
        is_read_only = _make_asyncpg_read_only(connection, record.info, protection)
        if not getattr(connection, "autocommit", False):
            _begin_read_only(connection, by_driver=is_read_only)
    elif not _is_known(record.driver_connection):
        raise protection.refuse_unknown(f"with the driver {type(record.driver_connection)}")


def _on_connect(connection: Connection) -> None:
    try:
        _protect(connection)
    except BaseException:
        connection.close()  # its caller gets an error, and no connection to close
        raise


def _protect(connection: Connection) -> None:
    connection.info[_URL] = connection.engine.url.render_as_string(hide_password=True)
    protection = _protection_of(connection)
    if protection is not None and connection.dialect.name not in _KNOWN_DIALECTS:
        raise protection.refuse_unknown(f"to {_url_of(connection.info)}")
    if protection is not None and _leave_autocommit(connection):
        driver: Any = connection.connection.dbapi_connection
        _begin_read_only(driver)


def _on_checkin(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    """Restore a connection that returns to its pool."""
    if connection is not None:
        _make_writable(connection, record.info)
    restore = record.info.pop(_AUTOCOMMIT, None)
    if restore is not None and connection is not None:
        restore.set_isolation_level(connection, "AUTOCOMMIT")


def _on_execution_options(connection: Connection, options: dict[str, Any]) -> None:
    if "isolation_level" not in options or not _protection_of(connection):
        return
    if options["isolation_level"] == "AUTOCOMMIT" and connection.dialect.name == "postgresql":
        # Read-only is a property of a transaction, and AUTOCOMMIT has no transaction. SELECT
        # returns the same in both.
        del options["isolation_level"]
    else:
        # The level can't be changed within the transaction that was started at checkout.
        connection.connection.rollback()


def _on_begin(connection: Connection) -> None:
    protection = _protection_of(connection)
    driver: Any = connection.connection.dbapi_connection
    if protection is None:
        # Restore a connection that was used in a protected run and did not return to its pool.
        _make_writable(driver, connection.info)
    elif _is_sqlite(driver):
        _make_sqlite_read_only(driver, connection.info, protection)
    elif connection.dialect.name == "postgresql":
        _leave_autocommit(connection)
        if not (
            _is_asyncpg(driver) and _make_asyncpg_read_only(driver, connection.info, protection)
        ):
            connection.exec_driver_sql(READ_ONLY)
            connection.exec_driver_sql(ANY_QUERY)


def _on_statement(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    """Refuse statements that would end the read-only transaction, with any driver."""
    protection = _protection_of(connection)
    if protection is None or connection.dialect.name != "postgresql":
        return
    if ending_statement(statement):
        raise protection.refuse(_url_of(connection.info))


def _make_sqlite_read_only(connection: Any, info: dict[str, Any], protection: Protection) -> None:
    if info.get(_QUERY_ONLY):
        return
    import sqlite3

    from oneoff.database.guards.sqlite import switches_query_only

    def authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
        if not switches_query_only(action, first, second):
            return sqlite3.SQLITE_OK
        protection.refuse(_url_of(info))
        return sqlite3.SQLITE_DENY

    _execute(connection, "PRAGMA query_only=ON")
    _set_authorizer(connection, authorize)
    info[_QUERY_ONLY] = True


def _make_asyncpg_read_only(connection: Any, info: dict[str, Any], protection: Protection) -> bool:
    from oneoff.database.guards.read_only_asyncpg import make_read_only

    return make_read_only(connection.driver_connection, lambda _: protection.refuse(_url_of(info)))


def _make_writable(connection: Any, info: dict[str, Any]) -> None:
    if info.pop(_QUERY_ONLY, False):
        _set_authorizer(connection, None)
        _execute(connection, "PRAGMA query_only=OFF")
    elif _is_asyncpg(connection):
        from oneoff.database.guards.read_only_asyncpg import make_writable

        make_writable(connection.driver_connection)


def _set_authorizer(connection: Any, authorize: Any) -> None:
    if hasattr(connection, "run_async"):
        connection.run_async(lambda driver: driver.set_authorizer(authorize))
    else:
        connection.set_authorizer(authorize)


def _begin_read_only(connection: DBAPIConnection, *, by_driver: bool = False) -> None:
    # By the rules of DBAPI, the first statement on the connection starts a transaction.
    for statement in ("",) if by_driver else (READ_ONLY, ANY_QUERY):
        _execute(connection, statement)


def _leave_autocommit(connection: Connection) -> bool:
    """Switch AUTOCOMMIT off until checkin; return whether it was on."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "postgresql" or not getattr(driver, "autocommit", False):
        return False
    connection.dialect.set_isolation_level(driver, "READ COMMITTED")
    connection.info[_AUTOCOMMIT] = connection.dialect
    return True


def _on_error(context: ExceptionContext) -> None:
    protection = _scope.current()
    if protection is not None and is_read_only_error(context.original_exception):
        protection.note(context.connection)


def _other_connection_wrote(mode: Mode, url: str) -> CommandError:
    kind = DryRunViolation if mode is Mode.ROLLBACK else ReadOnlyViolation
    return kind(
        f"the run tried to write to {url or 'a database'} through another connection",
        why="the write was refused, because a rollback of this run could not undo it",
        try_="write through the session of the command",
    )


def _protection_of(connection: Connection) -> Protection | None:
    return None if connection.info.get(EXEMPT) else _scope.current()


def _url_of(info: dict[str, Any]) -> str:
    return str(info.get(_URL, ""))


def _is_known(connection: object) -> bool:
    """Return whether a driver's connection is one to PostgreSQL or SQLite."""
    modules = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    return not modules.isdisjoint(_KNOWN_DRIVERS)


def _is_sqlite(connection: object) -> bool:
    return "sqlite" in type(connection).__module__


def _is_asyncpg(connection: object) -> bool:
    return "asyncpg" in type(connection).__module__


def _execute(connection: DBAPIConnection, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
