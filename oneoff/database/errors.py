"""Translate errors of a database or its driver to errors that an operator can act on.

Errors are distinguished by SQLSTATE and SQLite's result codes, not by classes or texts, which the
server may translate. No message contains a value of a row or a parameter; both drivers quote such
values in theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from traceback import walk_tb

from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DryRunViolation,
    ReadOnlyViolation,
    Unavailable,
    unstorable_text,
)
from oneoff.core.outcome import Ending
from oneoff.database import sqlstates
from oneoff.database.error_table import (
    LOST,
    NOT_MIGRATED,
    NOT_VALID,
    busy,
    cause_of_sqlite_code,
    cause_of_sqlstate,
)
from oneoff.utils.text import first_line

CONSTRAINT_MESSAGES = {
    sqlstates.NOT_NULL_VIOLATION: "a value is missing",
    sqlstates.FOREIGN_KEY_VIOLATION: "a row refers to one that does not exist, or is still "
    "referred to",
    sqlstates.UNIQUE_VIOLATION: "such a row already exists",
    sqlstates.CHECK_VIOLATION: "a value is not allowed",
    sqlstates.EXCLUSION_VIOLATION: "a row conflicts with an existing one",
    sqlstates.WITH_CHECK_OPTION_VIOLATION: "a row does not match the condition of its view",
}
"""The problem that a violated constraint found, by SQLSTATE."""

CONFLICTS = frozenset(
    {
        sqlstates.SERIALIZATION_FAILURE,
        sqlstates.DEADLOCK_DETECTED,
        sqlstates.LOCK_NOT_AVAILABLE,
        sqlstates.OBJECT_IN_USE,
        sqlstates.QUERY_CANCELED,
    }
)
"""SQLSTATEs after which the same work may succeed if it is tried again."""
# The codes below are also returned to attempts to connect.
BAD_LOGIN = (
    sqlstates.INVALID_PASSWORD,
    sqlstates.INVALID_AUTHORIZATION_SPECIFICATION,
    sqlstates.INVALID_CATALOG_NAME,
)
CONNECTION_LOST = (sqlstates.CONNECTION_EXCEPTION, sqlstates.SERVER_SHUTDOWN)
"""Prefixes of the SQLSTATEs that mean that the connection was lost."""
UNAVAILABLE = (*CONNECTION_LOST, sqlstates.INSUFFICIENT_RESOURCES, sqlstates.SYSTEM_ERROR)
"""Prefixes of the SQLSTATEs of a server that can't work at present."""

_NOT_STORABLE = (sqlstates.CHARACTER_NOT_IN_REPERTOIRE, sqlstates.UNTRANSLATABLE_CHARACTER)
_DRIVERS = ("aiosqlite", "asyncpg", "sqlalchemy")

# SQLite's primary result codes: https://www.sqlite.org/rescode.html
BUSY, LOCKED, _READONLY, _CONSTRAINT, _AUTH = 5, 6, 8, 19, 23


def translate_error(exc: BaseException) -> CommandError | None:
    """Return the error to report for an exception, or None if no database raised it."""
    if isinstance(exc, CommandError):
        return exc
    sqlstate = sqlstate_of(exc)
    # The drivers encode each text that is sent. sqlite3 does not wrap the error.
    is_encoding = any(isinstance(link, UnicodeEncodeError) for link in _links(exc))
    if is_encoding or sqlstate in _NOT_STORABLE:
        return unstorable_text()
    if _is_refused_by_driver(exc):
        return NOT_VALID.as_error("")
    if not is_from_database(exc):
        return None
    if sqlstate:
        return _from_postgresql(exc, sqlstate)
    code = sqlite_code(exc)
    if code is not None:
        return _from_sqlite(exc, code)
    if is_connection_loss(exc):
        return connection_lost()
    return _client_side(exc)


def is_read_only_error(exc: BaseException) -> bool:
    """Return whether the database refused a write because only reading is allowed."""
    return sqlstate_of(exc) == sqlstates.READ_ONLY_SQL_TRANSACTION or sqlite_code(exc) == _READONLY


def is_outdated(exc: BaseException) -> bool:
    """Return whether a statement that the server kept prepared no longer fits the tables.

    The driver has dropped the statement by then, so the next use prepares it again.
    """
    return "InvalidCachedStatementError" in {type(link).__name__ for link in _links(exc)}


def is_connection_loss(exc: BaseException) -> bool:
    """Return whether the connection was lost: the server may or may not have run the statement."""
    if getattr(exc, "connection_invalidated", False):
        return True
    if sqlstate_of(exc).startswith(CONNECTION_LOST):
        return True
    names = {type(link).__name__ for link in _links(exc)}
    return any(isinstance(link, ConnectionError) for link in _links(exc)) or bool(
        names & {"ConnectionDoesNotExistError", "ConnectionFailureError"}
    )


def commit_lost(ending: Ending, *, recorded: bool) -> CommandError:
    """Return the error for a connection that was lost during a commit.

    Args:
        ending: How the transaction ended. If that is not known, the exit code is not one that
            schedulers retry: the work may be done.
        recorded: Whether the transaction closes the record of the run.
    """
    message = "the connection to the database was lost while the work was being committed"
    if ending is Ending.ROLLED_BACK:
        return Unavailable(
            message,
            why="the record of the run, which is part of the same transaction, shows that the work "
            "was rolled back",
            try_="run the command again",
        )
    return CommandError(
        message,
        why="it is unknown whether the work was saved",
        try_=("python manage.py audit list: if this run has succeeded, its work was saved",)
        if recorded
        else ("check the data before you run the command again",),
        code="commit-unknown",
    )


def constraint_error(what: str, where: str) -> CommandError:
    """Return the error for a violated constraint.

    Args:
        what: The problem, without values.
        where: The table, and the column or the name of the constraint.
    """
    return CommandError(
        f"the database refused a row: {what}{f' ({where})' if where else ''}",
        try_="correct the input; --traceback shows the statement",
        code="constraint-violation",
    )


def read_only_error() -> ReadOnlyViolation:
    """Return the error for a write on a connection that is read-only."""
    return ReadOnlyViolation(
        "the command tried to write, but its database connection is read-only",
        why="it is read-only in a command with access = Access.READ, and in a dry run with "
        "DryRun.PLAN",
        try_="if the command is meant to write, declare access = Access.WRITE and a dry_run",
    )


def unwritable_error(exc: BaseException) -> ConfigurationError:
    """Return the error for a write that the database itself refuses, not a guard of the run."""
    if sqlite_code(exc) is None:
        why = "it is a standby server, or the user's transactions are read-only by default"
        advice = "set DATABASE_URL to the primary server, and to a user that may write"
    else:
        why = "the user that runs the command may not write the file, or not into its folder"
        advice = "make the file and its folder writable for this user"
    return ConfigurationError(
        f"the database can't be written: {driver_message(exc)}",
        why=why,
        try_=advice,
        code="unwritable-database",
    )


def sqlstate_of(exc: BaseException) -> str:
    """Return PostgreSQL's code of five characters, or an empty text."""
    for link in _links(exc):
        # psycopg2, which another engine of the application may use, has the attribute `pgcode`.
        sqlstate = getattr(link, "sqlstate", None) or getattr(link, "pgcode", None)
        if isinstance(sqlstate, str):
            return sqlstate
    return ""


def _links(exc: BaseException) -> Iterator[BaseException]:
    """Yield SQLAlchemy's error, then that of its adapter for the driver, then the driver's own."""
    seen: BaseException | None = exc
    for _ in range(4):
        if seen is None:
            return
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def is_from_database(exc: BaseException) -> bool:
    """Return whether SQLAlchemy or a driver raised it.

    Only loaded modules are checked; a module that is not loaded can't have raised it.
    """
    bases = [
        getattr(sys.modules.get(module), name, None)
        for module, name in (
            ("sqlalchemy.exc", "DBAPIError"),
            ("asyncpg.exceptions", "PostgresError"),
            ("asyncpg.exceptions", "InterfaceError"),
            ("sqlite3", "Error"),
        )
    ]
    return isinstance(exc, tuple(base for base in bases if base is not None))


def sqlite_code(exc: BaseException) -> int | None:
    """Return SQLite's primary result code, or None if there is none."""
    for link in _links(exc):
        code = getattr(link, "sqlite_errorcode", None)
        if isinstance(code, int):
            # The lowest byte of an extended result code is the primary one.
            return code & 0xFF
    return None


def driver_message(exc: BaseException) -> str:
    """Return the first line of the driver's message, without DETAIL, which quotes rows."""
    return first_line(list(_links(exc))[-1])


def _is_refused_by_driver(exc: BaseException) -> bool:
    """Return whether a driver can't send a number, and raised an error of Python's own for it."""
    if not isinstance(exc, OverflowError):
        return False
    last = None
    for frame, _ in walk_tb(exc.__traceback__):
        last = frame.f_globals.get("__name__")
    return isinstance(last, str) and last.partition(".")[0] in _DRIVERS


def _fact(exc: BaseException, name: str) -> str:
    return next((value for link in _links(exc) if (value := getattr(link, name, None))), "")


def _from_postgresql(exc: BaseException, sqlstate: str) -> CommandError:
    if sqlstate == sqlstates.READ_ONLY_SQL_TRANSACTION:
        return read_only_error()
    if sqlstate in CONSTRAINT_MESSAGES or sqlstate.startswith(
        sqlstates.INTEGRITY_CONSTRAINT_VIOLATION
    ):
        name, table = _fact(exc, "constraint_name"), _fact(exc, "table_name")
        column = _fact(exc, "column_name")
        where = f"{table}.{column}" if column else f"{table}, {name}" if name else table
        return constraint_error(CONSTRAINT_MESSAGES.get(sqlstate, "a constraint is not met"), where)
    if is_outdated(exc):
        return busy("a table was changed while the run used it").as_error("")
    cause = cause_of_sqlstate(sqlstate)
    return cause.as_error(driver_message(exc)) if cause is not None else _bug(exc, sqlstate)


def _from_sqlite(exc: BaseException, code: int) -> CommandError:
    text = driver_message(exc)
    if code == _READONLY:
        return read_only_error()
    if code == _CONSTRAINT:
        what, _, where = text.partition(" failed: ")
        return constraint_error(what.removesuffix(" failed"), where)
    if code == _AUTH:
        # A guard's authorizer refused the statement.
        return DryRunViolation(
            "the command tried to end the transaction of a dry run or of a read-only run",
            try_="remove the statement: the executor ends the transaction; "
            "session.commit() is allowed",
        )
    cause = cause_of_sqlite_code(code)
    if text.startswith(("no such table", "no such column")):
        cause = NOT_MIGRATED
    return cause.as_error(text) if cause is not None else _bug(exc, f"SQLite {code}")


def connection_lost() -> CommandError:
    """Return the error for a connection that was lost."""
    return LOST.as_error("")


def _bug(exc: BaseException, where: str) -> CommandError:
    # For class 22, a value that doesn't fit, the server's message quotes the value.
    words = (
        type(list(_links(exc))[-1]).__name__
        if where.startswith(sqlstates.DATA_EXCEPTION)
        else driver_message(exc)
    )
    return CommandError(
        f"the database refused a statement: {words} ({where})",
        why="this is a bug in the command or in code that it calls",
        try_="run the same command with --traceback",
        code="database-error",
    )


def _client_side(exc: BaseException) -> CommandError:
    # The driver's message about a wrong parameter quotes its value, so show only the class.
    name = type(list(_links(exc))[-1]).__name__
    return CommandError(
        f"the database driver refused a statement: {name}",
        why="this is a bug in the command or in code that it calls",
        try_="run the same command with --traceback",
        code="database-error",
    )
