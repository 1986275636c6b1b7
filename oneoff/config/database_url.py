"""Parse database URLs as platforms provide them, and convert them for each driver and client."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL

_POSTGRESQL = ("postgres", "postgresql")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TRUE = ("true", "1", "yes", "on")

# libpq's connection parameters that may follow "?", with the variables that psql and pg_dump read.
_LIBPQ = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
}
# Only libpq knows these. asyncpg would send them as settings, and the server would refuse them.
_NOT_ASYNCPG = ("connect_timeout", "channel_binding", "gssencmode")
# oneoff sets the application name itself; `pgbouncer` is a hint for other clients.
_IGNORED = ("application_name", "fallback_application_name", "pgbouncer")


class DatabaseURL(NamedTuple):
    """The parts of one database URL.

    Attributes:
        dialect: "postgresql" or "sqlite".
        host: Name, address or socket directory; empty for the driver's default.
        port: The port; None for the driver's default.
        user: The user; empty for the driver's default.
        password: The password in clear text. `safe` and `repr` never show it.
        database: Name of the database, or absolute path of the SQLite file, without
            symbolic links.
        query: Parameters by the names that libpq uses; for SQLite only `timeout`, in seconds.
    """

    dialect: str
    host: str = ""
    port: int | None = None
    user: str = ""
    password: str = ""
    database: str = ""
    query: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Return the URL without its password, so that tracebacks and logs can't leak it."""
        return f"DatabaseURL({self.safe()!r})"

    @property
    def name(self) -> str:
        """The database's name in a target; for SQLite the file's name without its suffix."""
        return Path(self.database).stem if self.dialect == "sqlite" else self.database

    def exists(self) -> bool:
        """Return whether the SQLite file exists; always true for PostgreSQL.

        Connecting creates the file, so a command that only reads asks this first.
        """
        return self.dialect != "sqlite" or Path(self.database).exists()

    def empty(self) -> DatabaseURL:
        """Return an empty SQLite database in memory, for reading when the file does not exist."""
        return self._replace(database=":memory:")

    def safe(self) -> str:
        """Return the URL for messages, with *** instead of the password."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self.database}"
        login = quote(self.user, safe="") + (":***" if self.password else "")
        # A socket directory has slashes and is quoted; an IPv6 address has colons.
        host = quote(self.host, safe="") if "/" in self.host else self.host
        where = f"[{host}]" if ":" in host else host
        port = f":{self.port}" if self.port else ""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"postgresql://{login}{'@' if login else ''}{where}{port}/{self.database}{query}"

    def sqlalchemy(self) -> URL:
        """Return the URL for `create_async_engine`: asyncpg or aiosqlite."""
        from sqlalchemy import URL

        if self.dialect == "sqlite":
            return URL.create("sqlite+aiosqlite", database=self.database, query=self.query)
        return URL.create(
            "postgresql+asyncpg",
            username=self.user or None,
            password=self.password or None,
            host=self.host or None,
            port=self.port,
            database=self.database,
            query=self._asyncpg_query(),
        )

    def asyncpg(self) -> dict[str, str | int]:
        """Return the keyword arguments for `asyncpg.connect`."""
        parts = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }
        return {name: value for name, value in parts.items() if value} | self._asyncpg_query()

    def libpq_environ(self) -> dict[str, str]:
        """Return the environment variables with which psql, pg_dump and pg_restore connect.

        The password is among them. It must not be on a command line, which every process can read.
        """
        environ = {
            "PGHOST": self.host,
            "PGPORT": str(self.port or ""),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }
        environ |= {_LIBPQ[name]: value for name, value in self.query.items()}
        return {name: value for name, value in environ.items() if value}

    def _asyncpg_query(self) -> dict[str, str]:
        """Return libpq's parameters in asyncpg's `dsn`, the only argument that accepts all."""
        query = {name: text for name, text in self.query.items() if name not in _NOT_ASYNCPG}
        return {"dsn": f"postgresql://?{urlencode(query)}"} if query else {}


def parse_database_url(
    text: str, root: Path, default_name: str, *, setting: str = "DATABASE_URL"
) -> DatabaseURL:
    """Parse a database URL.

    Args:
        text: The URL; empty for the embedded SQLite file `<root>/<default_name>.sqlite3`.
        root: The project's root folder, the base of relative SQLite paths.
        default_name: The project's name.
        setting: The variable that contains the URL, for messages.

    Raises:
        ConfigurationError: The URL can't be used. The message never contains the password.
    """
    if not text.strip():
        return DatabaseURL("sqlite", database=realpath(root / f"{default_name}.sqlite3"))
    try:
        scheme, colon, _ = text.strip().partition("://")
        parts = urlsplit(text.strip(), allow_fragments=False)
        dialect = scheme.partition("+")[0].lower()
        if not colon or dialect not in (*_POSTGRESQL, "sqlite"):
            raise _Unreadable(_unknown_scheme(scheme if colon else ""))
        return _sqlite(parts, root) if dialect == "sqlite" else _postgresql(parts)
    except _Unreadable as exc:
        problem = str(exc)
    except ValueError:
        # Messages of urlsplit contain pieces of the URL, which may be a part of the password.
        problem = "its host and port can't be read"
    raise ConfigurationError(
        f"{setting} can't be used: {problem}",
        try_=(
            f"{setting}=postgres://user:password@host:5432/database",
            "in the password, write @ as %40, / as %2F and ? as %3F",
        ),
        code="bad-database-url",
    )


class _Unreadable(Exception):
    """A problem of a URL; its message contains nothing of the password."""


def _unknown_scheme(scheme: str) -> str:
    if not scheme:
        return "it doesn't start with postgres:// or sqlite:///"
    return f"{scheme}:// is not supported, only postgres:// and sqlite:///"


def _sqlite(parts: SplitResult, root: Path) -> DatabaseURL:
    # sqlite:///relative, sqlite:////absolute: the first slash of the path belongs to the URL.
    path = unquote(parts.path)[1:]
    if parts.netloc:
        raise _Unreadable("a SQLite file is written with three slashes: sqlite:///file.sqlite3")
    if path in ("", ":memory:"):
        raise _Unreadable("a database in memory would be a new, empty one for each connection")
    query = dict(parse_qsl(parts.query))
    unknown = query.keys() - {"timeout"}
    if unknown:
        raise _Unreadable(f"unknown parameter {_listed(unknown)} after '?' (SQLite has: timeout)")
    _check_seconds(query, "timeout")
    # One file has one path here, whatever link leads to it: locks and the stored environment depend
    # on it.
    return DatabaseURL("sqlite", database=realpath(root / path), query=query)


def _postgresql(parts: SplitResult) -> DatabaseURL:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = query.pop("host", "") or _host(parts.netloc)
    if {"@", "/"} & {*parts.path.strip("/")}:
        # A "/" or "?" in the password is not percent-encoded, so the text after it became the path.
        raise _Unreadable("the text after the host is not the name of a database")
    if "," in host:
        raise _Unreadable("it names several hosts; give the address of the primary")
    port = query.pop("port", "") or parts.port
    user = query.pop("user", "") or unquote(parts.username or "")
    password = query.pop("password", "") or unquote(parts.password or "")
    database = query.pop("dbname", "") or unquote(parts.path.strip("/"))
    if not database:
        raise _Unreadable("it names no database")
    return DatabaseURL(
        "postgresql", host, int(port) if port else None, user, password, database, _libpq(query)
    )


def _host(netloc: str) -> str:
    # SplitResult.hostname is in lower case, which is wrong for the path of a socket directory.
    host = netloc.rpartition("@")[2]
    if "," in host:
        return host
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return unquote(host)


def _libpq(query: dict[str, str]) -> dict[str, str]:
    """Return libpq's parameters under the names that libpq uses.

    Raises `_Unreadable` for unknown ones.
    """
    ssl = query.pop("ssl", "")
    if ssl:
        # URLs for SQLAlchemy with asyncpg say ssl=require, others say ssl=true.
        query.setdefault("sslmode", "require" if ssl.lower() in _TRUE else ssl)
    if query.get("sslmode", "prefer") not in _SSL_MODES:
        raise _Unreadable(f"sslmode is not one of {', '.join(_SSL_MODES)}")
    unknown = query.keys() - _LIBPQ.keys() - set(_IGNORED)
    if unknown:
        raise _Unreadable(f"unknown parameter {_listed(unknown)} after '?'")
    _check_seconds(query, "connect_timeout")
    return {name: value for name, value in query.items() if name in _LIBPQ and value}


def _check_seconds(query: Mapping[str, str], name: str) -> None:
    if not query.get(name, "0").isdecimal():
        raise _Unreadable(f"{name} is not a number of seconds")


def _listed(names: set[str]) -> str:
    # A text that is not a name may be part of a password with an unescaped "?".
    return ", ".join(repr(name) if name.isidentifier() else "(no name)" for name in sorted(names))
