"""List the errors of PostgreSQL and SQLite that have a cause outside of the command.

Errors that are not in these tables are reported as bugs, with two exceptions: `errors` describes
violated constraints and read-only connections itself, because their messages have more parts.

PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
SQLite: https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

from typing import NamedTuple

from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DataError,
    TemporaryError,
    Unavailable,
)
from oneoff.database import sqlstates

_AGAIN = "run the command again"


class Cause(NamedTuple):
    """The cause of an error of the database.

    Attributes:
        error: The class of the error to report; it has the exit code.
        message: What happened; `{text}` is the message of the database.
        why: The reason, without consequences: what is saved depends on the run.
        advice: What to do next, one entry or several.
        code: The code of the error to report.
    """

    error: type[CommandError]
    message: str
    why: str
    advice: tuple[str, ...]
    code: str

    def as_error(self, text: str) -> CommandError:
        """Return the error to report for a message of the database."""
        message = self.message.replace("{text}", text)
        return self.error(message, why=self.why, try_=self.advice, code=self.code)


def busy(what: str) -> Cause:
    """Return a conflict with another client, after which a retry may succeed."""
    message = f"the database stopped the work: {what}"
    return Cause(TemporaryError, message, "", (_AGAIN,), code="database-busy")


def _value(what: str) -> Cause:
    message = f"the database refused a value: {what}"
    advice = "correct the input; --traceback shows the statement"
    return Cause(DataError, message, "", (advice,), code="bad-data")


def _server(what: str, advice: str) -> Cause:
    message = f"the database server can't work at present: {what}"
    return Cause(Unavailable, message, "", (advice, f"then {_AGAIN}"), code="unavailable")


def _refused(why: str, *advice: str) -> Cause:
    message = "the database refused a statement: {text}"
    return Cause(CommandError, message, why, advice, code="database-error")


LOST = Cause(
    Unavailable,
    "the connection to the database was lost",
    "the server ended it, for example because its transaction was idle for too long, or is "
    "shutting down",
    (_AGAIN,),
    code="unavailable",
)
NOT_MIGRATED = Cause(
    ConfigurationError,
    "{text}",
    "the database has not been migrated to the revision that the code needs",
    ("python manage.py migrate", "python manage.py db status"),
    code="not-migrated",
)
NOT_VALID = _value("it is not valid for its type, or out of its range")
FILE_LOCKED = busy("the file stayed locked by another process")
_BAD_LOGIN = Cause(ConfigurationError, "{text}", "", ("correct DATABASE_URL",), code="bad-login")
_RAISED = _refused(
    "a function or trigger of the database raised this error",
    "correct the input, or the function",
)
_FILES = _server("{text}", "check the server's log and its disks")
_DAMAGED = _refused(
    "the server found damaged data",
    "check the server's log and its disks, and restore the data from a backup",
)

_BY_SQLSTATE = {
    sqlstates.CONNECTION_EXCEPTION: LOST,
    # asyncpg raises this code itself for a parameter that it can't send.
    sqlstates.UNSPECIFIED_DATA_EXCEPTION: NOT_VALID,
    sqlstates.STRING_DATA_RIGHT_TRUNCATION: _value("it is too long for its column"),
    sqlstates.NUMERIC_VALUE_OUT_OF_RANGE: _value("it is out of the range of its type"),
    sqlstates.INVALID_DATETIME_FORMAT: _value("it is not a valid date or time"),
    sqlstates.DATETIME_FIELD_OVERFLOW: _value("it is not a valid date or time, or out of range"),
    sqlstates.INVALID_TEXT_REPRESENTATION: _value("it is not valid for its type"),
    sqlstates.INVALID_BINARY_REPRESENTATION: _value("it is not valid for its type"),
    sqlstates.IDLE_IN_TRANSACTION_TIMEOUT: LOST,
    sqlstates.TRANSACTION_TIMEOUT: busy("the transaction took longer than the server allows"),
    sqlstates.INVALID_AUTHORIZATION: _BAD_LOGIN,
    sqlstates.DEPENDENT_OBJECTS_EXIST: _refused(
        "other objects of the database depend on it",
        "drop or change these objects first",
    ),
    sqlstates.EXTERNAL_ROUTINE_EXCEPTION: _RAISED,
    sqlstates.EXTERNAL_ROUTINE_INVOCATION_EXCEPTION: _RAISED,
    sqlstates.INVALID_CATALOG_NAME: _BAD_LOGIN,
    sqlstates.INVALID_SCHEMA_NAME: NOT_MIGRATED,
    sqlstates.TRANSACTION_ROLLBACK: busy("it conflicted with another transaction"),
    sqlstates.DEADLOCK_DETECTED: busy("it was in a deadlock with another transaction"),
    sqlstates.INSUFFICIENT_PRIVILEGE: Cause(
        ConfigurationError,
        "the database user lacks a permission: {text}",
        "",
        ("GRANT the permission, or use a DATABASE_URL with another user",),
        code="permission-denied",
    ),
    sqlstates.UNDEFINED_COLUMN: NOT_MIGRATED,
    sqlstates.UNDEFINED_OBJECT: NOT_MIGRATED,
    sqlstates.UNDEFINED_TABLE: NOT_MIGRATED,
    sqlstates.INSUFFICIENT_RESOURCES: _server("{text}", "check the server's resources"),
    sqlstates.DISK_FULL: _server("its disk is full", "free disk space on the server"),
    sqlstates.OUT_OF_MEMORY: _server("it is out of memory", "check what else the server does"),
    sqlstates.TOO_MANY_CONNECTIONS: _server(
        "it accepts no more connections", "close connections, or raise max_connections"
    ),
    sqlstates.PROGRAM_LIMIT_EXCEEDED: _value("it is too large for the table or an index"),
    sqlstates.STATEMENT_TOO_COMPLEX: _value("it is nested too deeply"),
    sqlstates.OBJECT_NOT_IN_PREREQUISITE_STATE: _refused(
        "an object of the database is not in the state that the statement needs",
        "bring the object into that state first",
    ),
    sqlstates.OBJECT_IN_USE: busy("something it needs is in use"),
    sqlstates.LOCK_NOT_AVAILABLE: busy("a row or table stayed locked by another transaction"),
    sqlstates.QUERY_CANCELED: busy(
        "a statement took longer than statement_timeout allows, or was cancelled"
    ),
    sqlstates.SERVER_SHUTDOWN: LOST,
    sqlstates.SYSTEM_ERROR: _FILES,
    sqlstates.SNAPSHOT_TOO_OLD: busy("it read rows that the server no longer keeps"),
    sqlstates.CONFIG_FILE_ERROR: Cause(
        ConfigurationError,
        "the configuration of the database server is wrong: {text}",
        "",
        ("correct the server's configuration",),
        code="bad-database",
    ),
    sqlstates.FOREIGN_DATA_WRAPPER_ERROR: _refused(
        "a foreign server refused it", "check that server"
    ),
    sqlstates.PLPGSQL_ERROR: _RAISED,
    sqlstates.DATA_CORRUPTED: _DAMAGED,
    sqlstates.INDEX_CORRUPTED: _DAMAGED,
    sqlstates.INTERNAL_ERROR: _refused(
        "the server or one of its extensions reports an internal error",
        "check the server's log; --traceback shows the statement",
    ),
}
_DISK = Cause(
    Unavailable, "SQLite: {text}", "", ("free disk space, or check the disk",), code="unavailable"
)
_BAD_FILE = Cause(
    ConfigurationError, "SQLite: {text}", "", ("check DATABASE_URL",), code="bad-file"
)

# The constants of the module sqlite3 would load SQLite for every database.
_SQLITE_PERM, _SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_NOMEM, _SQLITE_IOERR = 3, 5, 6, 7, 10
_SQLITE_CORRUPT, _SQLITE_FULL, _SQLITE_CANTOPEN, _SQLITE_PROTOCOL = 11, 13, 14, 15
_SQLITE_SCHEMA, _SQLITE_TOOBIG, _SQLITE_MISMATCH, _SQLITE_NOLFS, _SQLITE_NOTADB = 17, 18, 20, 22, 26
_BY_SQLITE_CODE = {
    _SQLITE_PERM: _BAD_FILE,
    _SQLITE_BUSY: FILE_LOCKED,
    _SQLITE_LOCKED: FILE_LOCKED,
    _SQLITE_NOMEM: Cause(
        Unavailable, "SQLite: {text}", "", ("give the process more memory",), code="unavailable"
    ),
    _SQLITE_IOERR: _DISK,
    _SQLITE_CORRUPT: _BAD_FILE,
    _SQLITE_FULL: _DISK,
    _SQLITE_CANTOPEN: _BAD_FILE,
    _SQLITE_PROTOCOL: FILE_LOCKED,
    _SQLITE_SCHEMA: busy("another process changed a table"),
    _SQLITE_TOOBIG: _value("it is too large"),
    _SQLITE_MISMATCH: _value("it is not valid for its type"),
    _SQLITE_NOLFS: _BAD_FILE,
    _SQLITE_NOTADB: _BAD_FILE,
}


def cause_of_sqlstate(sqlstate: str) -> Cause | None:
    """Return the cause of an error of PostgreSQL, or None if it is a bug.

    The longest prefix of the SQLSTATE that the table contains decides. A class that PostgreSQL
    does not define was raised by a function of the project.
    """
    for length in (5, 3, 2):
        found = _BY_SQLSTATE.get(sqlstate[:length])
        if found is not None:
            return found
    return None if sqlstate[:2] in sqlstates.CLASSES else _RAISED


def cause_of_sqlite_code(code: int) -> Cause | None:
    """Return the cause of an error of SQLite by its primary result code, or None if it is a bug."""
    return _BY_SQLITE_CODE.get(code)
