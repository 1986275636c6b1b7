"""Translate failures to open a connection to errors that an operator can act on."""

from __future__ import annotations

from oneoff.config.database_url import DatabaseURL
from oneoff.core.errors import CommandError, ConfigurationError, Unavailable
from oneoff.database import sqlstates
from oneoff.database.error_table import FILE_LOCKED
from oneoff.database.errors import (
    BAD_LOGIN,
    BUSY,
    LOCKED,
    UNAVAILABLE,
    driver_message,
    is_from_database,
    sqlite_code,
    sqlstate_of,
)
from oneoff.utils.files import file_advice, file_problem

# pgbouncer reports every error with the code PROTOCOL_VIOLATION, so only its text, which is always
# English, shows what is wrong.
_POOLER_REFUSES = ("no such", "does not exist", "authentication failed", "unsupported startup")


def translate_connect_error(exc: Exception, url: DatabaseURL) -> CommandError | None:
    """Return the error for a connection that could not be opened; it never shows the password."""
    if isinstance(exc, CommandError):
        return exc
    if url.dialect == "sqlite":
        return _unopened_file(exc, url)
    if isinstance(exc, OSError) and (problem := _bad_file(exc, url)):
        return problem
    sqlstate, text = sqlstate_of(exc), driver_message(exc)
    refused = sqlstate == sqlstates.PROTOCOL_VIOLATION and any(
        words in text for words in _POOLER_REFUSES
    )
    if sqlstate in BAD_LOGIN or refused:
        return _wrong_login(sqlstate, text, url)
    if sqlstate.startswith(UNAVAILABLE) or isinstance(exc, OSError | TimeoutError):
        return _unreachable(exc, text, url)
    if sqlstate or is_from_database(exc):
        return ConfigurationError(
            f"{url.safe()} can't be used: {text}", try_="correct DATABASE_URL", code="bad-database"
        )
    return None


def _wrong_login(sqlstate: str, text: str, url: DatabaseURL) -> ConfigurationError:
    what = {
        sqlstates.INVALID_PASSWORD: f"the password for user {url.user!r} is wrong",
        sqlstates.INVALID_CATALOG_NAME: f"there is no database {url.database!r}",
    }.get(sqlstate, text)
    return ConfigurationError(
        f"{_server(url)} refused the connection: {what}",
        try_="correct DATABASE_URL",
        code="bad-login",
    )


def _unreachable(exc: Exception, text: str, url: DatabaseURL) -> CommandError:
    import ssl

    if isinstance(exc, ssl.SSLError) or "SSL upgrade" in text:
        return ConfigurationError(
            f"{_server(url)} can't be reached over TLS: {text}",
            try_="set the mode in DATABASE_URL: ?sslmode=disable, require or verify-full",
            code="bad-tls",
        )
    if isinstance(exc, TimeoutError):
        text = "no answer in time"
    return Unavailable(
        f"{_server(url)} can't be reached for database {url.database!r}: {text}",
        try_=(
            "python manage.py system health",
            "check that the server is running and that its address is right",
        ),
    )


def _unopened_file(exc: Exception, url: DatabaseURL) -> CommandError | None:
    code = sqlite_code(exc)
    if code is None:
        return None
    if code in (BUSY, LOCKED):
        return FILE_LOCKED.as_error("")
    return ConfigurationError(
        f"the SQLite file {url.database} can't be opened: {driver_message(exc)}",
        try_="check that its folder exists and is writable",
        code="bad-file",
    )


def _server(url: DatabaseURL) -> str:
    return f"PostgreSQL at {url.host or 'the local socket'}:{url.port or 5432}"


def _bad_file(exc: OSError, url: DatabaseURL) -> ConfigurationError | None:
    """Return the error for a file of the driver that is missing, wrong or can't be read."""
    from oneoff.database.url_arguments import check_certificates

    try:
        check_certificates(url)
    except ConfigurationError as error:
        return error
    if problem := file_problem(exc):
        # The driver looks for passwords and certificates in the home folder.
        return ConfigurationError(
            f"a file that the database driver looks for can't be read: {problem}",
            try_=f"{file_advice(exc)}; HOME, PGPASSFILE and sslrootcert say where it is",
            code="driver-file",
        )
    return None
