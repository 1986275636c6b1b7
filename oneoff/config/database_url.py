"""Parse database URLs as platforms provide them, and convert them for each driver and client."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from oneoff.config.url_parameters import (
    NOT_ASYNCPG,
    SYSTEM,
    TLS,
    VARIABLES,
    Unreadable,
    check_numbers,
    listed_names,
    read_parameters,
)
from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL

_POSTGRESQL = ("postgres", "postgresql")


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
        query: Parameters as `read_parameters` returns them; for SQLite only `timeout`, in seconds.
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

    @property
    def is_local(self) -> bool:
        """Whether it is a file, or on a server that is reached by a socket or on this machine."""
        from oneoff.utils.hosts import is_local_host

        # Without a host, asyncpg may read it from variables and files.
        host = self.query.get("hostaddr") or self.host
        return self.dialect == "sqlite" or is_local_host(host)

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
            host=self.query.get("hostaddr") or self.host or None,
            port=self.port,
            database=self.database,
            query=self._asyncpg_query(),
        )

    def asyncpg(self) -> dict[str, str | int]:
        """Return the keyword arguments for `asyncpg.connect`."""
        parts = {
            "host": self.query.get("hostaddr") or self.host,
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
        environ |= {
            VARIABLES[name]: value for name, value in self.query.items() if name in VARIABLES
        }
        return {name: value for name, value in environ.items() if value}

    def _asyncpg_query(self) -> dict[str, str]:
        """Return libpq's parameters in asyncpg's `dsn`, the only argument that accepts all."""
        query = {name: text for name, text in self.query.items() if name not in NOT_ASYNCPG}
        if query.get("sslrootcert") == SYSTEM:
            # asyncpg takes it for the name of a file. `oneoff.database.engine` gives it a context.
            query = {name: text for name, text in query.items() if name not in TLS}
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
            raise Unreadable(_unknown_scheme(scheme if colon else ""))
        return _sqlite(parts, root) if dialect == "sqlite" else _postgresql(parts)
    except Unreadable as exc:
        problem, parameter = str(exc), exc.parameter
    except ValueError:
        # Messages of urlsplit contain pieces of the URL, which may be a part of the password.
        problem, parameter = "its host and port can't be read", ""
    raise ConfigurationError(
        f"{setting} can't be used: {problem}",
        try_=_advice(setting, parameter),
        code="bad-database-url",
    )


def _advice(setting: str, parameter: str) -> tuple[str, ...]:
    if parameter:
        return (f"correct or remove {parameter} in {setting}",)
    return (
        f"{setting}=postgres://user:password@host:5432/database",
        "in the password, write @ as %40, / as %2F and ? as %3F",
    )


def _unknown_scheme(scheme: str) -> str:
    if not scheme:
        return "it doesn't start with postgres:// or sqlite:///"
    return f"{scheme}:// is not supported, only postgres:// and sqlite:///"


def _sqlite(parts: SplitResult, root: Path) -> DatabaseURL:
    # sqlite:///relative, sqlite:////absolute: the first slash of the path belongs to the URL.
    path = unquote(parts.path)[1:]
    if parts.netloc:
        raise Unreadable("a SQLite file is written with three slashes: sqlite:///file.sqlite3")
    if path in ("", ":memory:"):
        raise Unreadable("a database in memory would be a new, empty one for each connection")
    query = dict(parse_qsl(parts.query))
    unknown = query.keys() - {"timeout"}
    if unknown:
        names = listed_names(unknown)
        raise Unreadable(f"unknown parameter {names} after '?' (SQLite has: timeout)")
    check_numbers(query, "timeout")
    # One file has one path here, whatever link leads to it: locks and the stored environment depend
    # on it.
    return DatabaseURL("sqlite", database=realpath(root / path), query=query)


def _postgresql(parts: SplitResult) -> DatabaseURL:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = query.pop("host", "") or _host(parts.netloc)
    if {"@", "/"} & {*parts.path.strip("/")}:
        # A "/" or "?" in the password is not percent-encoded, so the text after it became the path.
        raise Unreadable("the text after the host is not the name of a database")
    if "," in host + query.get("hostaddr", ""):
        raise Unreadable("it names several hosts; give the address of the primary")
    port = query.pop("port", "") or parts.port
    user = query.pop("user", "") or unquote(parts.username or "")
    password = query.pop("password", "") or unquote(parts.password or "")
    database = query.pop("dbname", "") or unquote(parts.path.strip("/"))
    if not database:
        raise Unreadable("it names no database")
    host = host or query.get("hostaddr", "")
    return DatabaseURL(
        "postgresql",
        host,
        int(port) if port else None,
        user,
        password,
        database,
        read_parameters(query),
    )


def _host(netloc: str) -> str:
    # SplitResult.hostname is in lower case, which is wrong for the path of a socket directory.
    host = netloc.rpartition("@")[2]
    if "," in host:
        return host
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return unquote(host)
