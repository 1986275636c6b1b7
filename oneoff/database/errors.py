"""What a database or its driver raises, as errors an operator can act on.

Branches on SQLSTATE and SQLite's result codes, never on classes or (translated) texts. No message
holds a value of a row or a parameter: both drivers like to quote them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DryRunViolation,
    ReadOnlyViolation,
    TemporaryError,
    Unavailable,
)
from oneoff.database import sqlstates
from oneoff.utils.text import first_line

CONSTRAINT_MESSAGES = {
    sqlstates.NOT_NULL_VIOLATION: "a value is missing",
    sqlstates.FOREIGN_KEY_VIOLATION: "a row refers to one that is not there, or is still referred "
    "to",
    sqlstates.UNIQUE_VIOLATION: "such a row is there already",
    sqlstates.CHECK_VIOLATION: "a value is not allowed",
    sqlstates.EXCLUSION_VIOLATION: "a row conflicts with one that is there",
}
"""What a constraint complains about, by SQLSTATE."""

_BUSY_MESSAGES = {
    sqlstates.SERIALIZATION_FAILURE: "it conflicted with another transaction",
    sqlstates.DEADLOCK_DETECTED: "it was in a deadlock with another transaction",
    sqlstates.LOCK_NOT_AVAILABLE: "a row or table stayed locked by another transaction",
    sqlstates.OBJECT_IN_USE: "something it needs is in use",
    sqlstates.QUERY_CANCELED: "a statement took longer than the server allows, or was cancelled",
}
CONFLICTS = frozenset(_BUSY_MESSAGES)
"""SQLSTATEs after which the same work may succeed when it is tried again."""
_NOT_MIGRATED = (
    sqlstates.UNDEFINED_TABLE,
    sqlstates.INVALID_SCHEMA_NAME,
    sqlstates.UNDEFINED_COLUMN,
)
# Those below are met by an attempt to connect too.
BAD_LOGIN = (
    sqlstates.INVALID_PASSWORD,
    sqlstates.INVALID_AUTHORIZATION_SPECIFICATION,
    sqlstates.INVALID_CATALOG_NAME,
)
CONNECTION_LOST = (sqlstates.CONNECTION_EXCEPTION, sqlstates.SERVER_SHUTDOWN)
"""Beginnings of the SQLSTATEs with which the connection is gone."""
UNAVAILABLE = (*CONNECTION_LOST, sqlstates.INSUFFICIENT_RESOURCES, sqlstates.SYSTEM_ERROR)
"""Beginnings of the SQLSTATEs of a server that does not work now."""

# SQLite's primary result codes: https://www.sqlite.org/rescode.html
BUSY, LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN = 5, 6, 8, 10, 11, 13, 14
_CONSTRAINT, _AUTH, _NOTADB = 19, 23, 26


def translate_error(exc: BaseException) -> CommandError | None:
    """Return what to tell the operator about an exception, or None if no database raised it."""
    if isinstance(exc, CommandError):
        return exc
    if not is_from_database(exc):
        return None
    sqlstate = sqlstate_of(exc)
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
    """Return whether what the server kept prepared does not fit the tables any more.

    The driver has forgotten it then: the same statement is prepared anew.
    """
    return "InvalidCachedStatementError" in {type(link).__name__ for link in _links(exc)}


def is_connection_loss(exc: BaseException) -> bool:
    """Return whether the connection broke: the statement may or may not have been done."""
    if getattr(exc, "connection_invalidated", False):
        return True
    if sqlstate_of(exc).startswith(CONNECTION_LOST):
        return True
    names = {type(link).__name__ for link in _links(exc)}
    return any(isinstance(link, ConnectionError) for link in _links(exc)) or bool(
        names & {"ConnectionDoesNotExistError", "ConnectionFailureError"}
    )


def commit_in_doubt() -> Unavailable:
    """Return the error for a connection that broke while committing."""
    return Unavailable(
        "the connection to the database was lost while the work was being committed",
        why="nobody knows whether it was saved",
        try_="run the command again: what is done already is left as it is",
        code="commit-in-doubt",
    )


def constraint_error(what: str, where: str) -> CommandError:
    """Return the error for a constraint that is not met.

    Args:
        what: The kind of constraint, without values.
        where: Table, and column or name of the constraint.
    """
    return CommandError(
        f"the database refused a row: {what}{f' ({where})' if where else ''}",
        why="nothing was written",
        try_="correct the input; --traceback shows which statement it was",
        code="constraint-violation",
    )


def read_only_error() -> ReadOnlyViolation:
    """Return the error for a write where only reading is allowed."""
    return ReadOnlyViolation(
        "something tried to write, but here the database is read-only",
        why="a reading command and a planned dry run get a read-only session; so does every run on "
        "a standby server or a file without write permission",
        try_="say access = Access.WRITE and a dry_run if the command is meant to write",
    )


def sqlstate_of(exc: BaseException) -> str:
    """Return PostgreSQL's five-letter code, or an empty text."""
    for link in _links(exc):
        # psycopg2, perhaps behind another engine of the application, calls it pgcode.
        sqlstate = getattr(link, "sqlstate", None) or getattr(link, "pgcode", None)
        if isinstance(sqlstate, str):
            return sqlstate
    return ""


def _links(exc: BaseException) -> Iterator[BaseException]:
    """Walk from SQLAlchemy's error to its driver's adapter's and to the driver's own."""
    seen: BaseException | None = exc
    for _ in range(4):
        if seen is None:
            return
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def is_from_database(exc: BaseException) -> bool:
    """Return whether SQLAlchemy or a driver raised it.

    Judges by the modules that are loaded: this one loads none.
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
    """Return SQLite's primary result code."""
    for link in _links(exc):
        code = getattr(link, "sqlite_errorcode", None)
        if isinstance(code, int):
            return code & 0xFF
    return None


def driver_message(exc: BaseException) -> str:
    """Return the driver's own words without DETAIL, which quotes rows."""
    return first_line(list(_links(exc))[-1])


def _fact(exc: BaseException, name: str) -> str:
    return next((value for link in _links(exc) if (value := getattr(link, name, None))), "")


def _from_postgresql(exc: BaseException, sqlstate: str) -> CommandError:
    if sqlstate == sqlstates.READ_ONLY_SQL_TRANSACTION:
        return read_only_error()
    if sqlstate.startswith(sqlstates.INTEGRITY_CONSTRAINT_VIOLATION):
        name, table = _fact(exc, "constraint_name"), _fact(exc, "table_name")
        column = _fact(exc, "column_name")
        where = f"{table}.{column}" if column else f"{table}, {name}" if name else table
        return constraint_error(CONSTRAINT_MESSAGES.get(sqlstate, "a constraint is not met"), where)
    if sqlstate in _BUSY_MESSAGES:
        return busy_error(_BUSY_MESSAGES[sqlstate])
    if sqlstate.startswith(UNAVAILABLE):
        return connection_lost()
    if sqlstate in BAD_LOGIN:
        return ConfigurationError(
            driver_message(exc), try_="correct DATABASE_URL", code="bad-login"
        )
    if sqlstate in _NOT_MIGRATED:
        return _not_migrated(driver_message(exc))
    if sqlstate == sqlstates.INSUFFICIENT_PRIVILEGE:
        return ConfigurationError(
            f"the database's role may not do this: {driver_message(exc)}",
            try_="GRANT what is missing, or use a DATABASE_URL with another user",
            code="permission-denied",
        )
    return _bug(exc, sqlstate)


def _from_sqlite(exc: BaseException, code: int) -> CommandError:
    text = driver_message(exc)
    if code == _READONLY:
        return read_only_error()
    if code == _CONSTRAINT:
        what, _, where = text.partition(" failed: ")
        return constraint_error(what.removesuffix(" failed"), where)
    if code in (BUSY, LOCKED):
        return busy_error("the file stayed locked by another process")
    if code in (_IOERR, _FULL):
        return Unavailable(f"SQLite: {text}", try_="make room, or look at the disk")
    if code in (_CORRUPT, _NOTADB, _CANTOPEN):
        return ConfigurationError(f"SQLite: {text}", try_="look at DATABASE_URL", code="bad-file")
    if code == _AUTH:
        return DryRunViolation(
            "something tried to end the transaction of a dry run or of a reading command",
            try_="leave COMMIT and ROLLBACK to the executor; session.commit() is harmless",
        )
    if text.startswith(("no such table", "no such column")):
        return _not_migrated(text)
    return _bug(exc, f"SQLite {code}")


def busy_error(what: str) -> TemporaryError:
    """Return the error for work that met another client's; a retry is right."""
    return TemporaryError(
        f"the database stopped the work: {what}",
        why="nothing was written",
        try_="run the command again",
        code="database-busy",
    )


def connection_lost() -> Unavailable:
    """Return the error for a connection that broke."""
    return Unavailable(
        "the connection to the database was lost",
        why="the server ended it, is shutting down, or is out of resources; nothing was written",
        try_="run the command again",
    )


def _not_migrated(text: str) -> ConfigurationError:
    return ConfigurationError(
        text,
        why="the database has not been migrated, or not as far as the code needs",
        try_=("python manage.py migrate", "python manage.py db status"),
        code="not-migrated",
    )


def _bug(exc: BaseException, where: str) -> CommandError:
    # Class 22, a value that doesn't fit: the message quotes it.
    words = (
        type(list(_links(exc))[-1]).__name__
        if where.startswith(sqlstates.DATA_EXCEPTION)
        else driver_message(exc)
    )
    return CommandError(
        f"the database refused a statement: {words} ({where})",
        why="this is a bug, in the command or in what it calls; the work was rolled back",
        try_="the same command with --traceback",
        code="database-error",
    )


def _client_side(exc: BaseException) -> CommandError:
    # The driver's own complaint about a parameter quotes it.
    name = type(list(_links(exc))[-1]).__name__
    return CommandError(
        f"the database driver refused a statement: {name}",
        why="this is a bug, in the command or in what it calls; the work was rolled back",
        try_="the same command with --traceback",
        code="database-error",
    )
