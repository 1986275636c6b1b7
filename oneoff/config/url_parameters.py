"""The parameters after "?" in a URL of PostgreSQL: libpq's, and those of other clients.

An application and its commands share DATABASE_URL. So a parameter of another client is honoured if
it has a meaning here, and is otherwise refused by its name. None is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
VARIABLES = {
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
    "hostaddr": "PGHOSTADDR",
}
"""libpq's parameters, with the variables that psql and pg_dump read."""
CERTIFICATES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Those of `VARIABLES` that name files."""
_TLS_VERSIONS = ("ssl_min_protocol_version", "ssl_max_protocol_version")
_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
TLS = frozenset({"sslmode", *CERTIFICATES, *_TLS_VERSIONS})
"""Those that describe the context of a TLS connection."""
HANDSHAKES = {"channel_binding": "channel binding", "gssencmode": "encryption by GSSAPI"}
"""What asyncpg can't do, by the parameters that require it with the value `require`."""
PROTECTING = tuple(VARIABLES[name] for name in ("sslcrl", *HANDSHAKES))
"""Variables that protect a connection, and that the driver ignores in some cases."""
SYSTEM = "system"
"""The value of `sslrootcert` for the certificates that the system trusts."""
KEEPALIVES = ("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count")
"""Numbers for the socket; psql keeps connections alive by itself."""
STATEMENT_CACHE = "prepared_statement_cache_size"

# asyncpg doesn't know these. It would send them as settings, and the server would refuse them.
NOT_ASYNCPG = frozenset(
    {"connect_timeout", "channel_binding", "gssencmode", "hostaddr", STATEMENT_CACHE, *KEEPALIVES}
)
_SETTINGS = (
    "search_path statement_timeout lock_timeout idle_in_transaction_session_timeout timezone"
).split()
"""Settings of the server, which asyncpg and SQLAlchemy accept as parameters."""
_SAME = {
    "timeout": "connect_timeout",  # asyncpg
    "connectTimeout": "connect_timeout",  # JDBC
    "loginTimeout": "connect_timeout",
    "statement_cache_size": STATEMENT_CACHE,  # asyncpg, Prisma
    "tcpKeepAlive": "keepalives",  # JDBC
    "encoding": "client_encoding",  # Rails
    "ApplicationName": "application_name",  # JDBC
}
_NO_CACHE = {
    "pgbouncer": ("true", "1"),  # Prisma
    "prepared_statements": ("false", "0"),  # Rails
    "prepareThreshold": ("0",),  # JDBC
}
"""Parameters that switch prepared statements off with one of these values."""
_SCHEMAS = ("schema", "currentSchema")  # Prisma, JDBC
_UTF8 = ("utf8", "unicode", "auto")
_TRUE = ("true", "1", "yes", "on")
# oneoff sets the application name itself.
_SET_BY_ONEOFF = ("application_name", "fallback_application_name")


_NO_MEANING = {
    **dict.fromkeys(
        "pool pool_size max_overflow pool_timeout pool_recycle pool_pre_ping connection_limit "
        "pool_max_conns pool_min_conns checkout_timeout conn_max_age".split(),
        "a run uses no connection pool",
    ),
    **dict.fromkeys(("service", "servicefile"), "only libpq reads service files"),
    **dict.fromkeys(
        ("command_timeout", "socket_timeout", "socketTimeout"), "use statement_timeout instead"
    ),
    **dict.fromkeys(
        "load_balance_hosts targetServerType hostRecheckSeconds".split(), "there is one host"
    ),
    **dict.fromkeys(
        "require_auth requirepeer krbsrvname gsslib sslcrldir sslcertmode tcp_user_timeout".split(),
        "the driver asyncpg doesn't know it",
    ),
    "sslpassword": "give a key without a password",
}
"""Why parameters of libpq and other clients can't be honoured."""


class Unreadable(Exception):
    """A problem of a URL; its message contains nothing of the password.

    Args:
        message: The problem.
        parameter: The parameter that has it; empty if the URL itself can't be read.
    """

    def __init__(self, message: str, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


def read_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters under the names of `VARIABLES`, `KEEPALIVES` and `STATEMENT_CACHE`.

    Raises:
        Unreadable: A parameter is unknown, has a wrong value, or has no meaning here.
    """
    query = {_SAME.get(name, name): value for name, value in given.items()}
    _read_ssl(query)
    _read_encoding(query)
    _read_settings(query)
    for name, values in _NO_CACHE.items():
        if query.pop(name, "").lower() in values:
            query[STATEMENT_CACHE] = "0"
    for name in _SET_BY_ONEOFF:
        query.pop(name, None)
    known = {*VARIABLES, *KEEPALIVES, STATEMENT_CACHE}
    if unknown := query.keys() - known:
        raise _unknown(unknown, known)
    if given.get("tcpKeepAlive"):
        query["keepalives"] = str(int(query["keepalives"].lower() in _TRUE))
    check_numbers(query, "connect_timeout", STATEMENT_CACHE, *KEEPALIVES)
    for name in HANDSHAKES:
        if problem := handshake_problem(name, query.get(name, "")):
            raise Unreadable(problem, name)
    return {name: value for name, value in query.items() if value}


def handshake_problem(name: str, value: str) -> str:
    """Return why a value of one of `HANDSHAKES` can't be honoured; empty if it can."""
    if value in ("", "disable", "prefer"):
        return ""
    if value != "require":
        return f"{name} is not one of disable, prefer, require"
    instead = "sslmode=verify-full with sslrootcert protects against another server"
    return f"{name}=require: the driver asyncpg has no {HANDSHAKES[name]}; {instead}"


def check_numbers(query: Mapping[str, str], *names: str) -> None:
    """Raise `Unreadable` if one of these parameters is not a number."""
    for name in names:
        if not query.get(name, "0").isdecimal():
            unit = " of seconds" if "timeout" in name else ""
            raise Unreadable(f"{name} is not a number{unit}", name)


def _read_ssl(query: dict[str, str]) -> None:
    ssl = query.pop("ssl", "")
    if ssl:
        # URLs for SQLAlchemy with asyncpg say ssl=require, others say ssl=true.
        query.setdefault("sslmode", "require" if ssl.lower() in _TRUE else ssl)
    if (
        query.get("sslrootcert") == SYSTEM
        and query.setdefault("sslmode", "verify-full") in (SSL_MODES[:-1])
    ):
        # As libpq: any server can have a certificate that the system trusts, for its own name.
        raise Unreadable("sslrootcert=system needs sslmode=verify-full", "sslmode")
    if query.get("sslmode", "prefer") not in SSL_MODES:
        raise Unreadable(f"sslmode is not one of {', '.join(SSL_MODES)}", "sslmode")
    for name in _TLS_VERSIONS:
        if query.get(name) and query[name] not in _VERSIONS:
            raise Unreadable(f"{name} is not one of {', '.join(_VERSIONS)}", name)
    if query.get("hostaddr") and query.get("sslmode") == "verify-full":
        raise Unreadable("hostaddr and sslmode=verify-full can't be used together", "hostaddr")


def _read_encoding(query: dict[str, str]) -> None:
    encoding = query.pop("client_encoding", "utf8")
    if encoding.lower().replace("-", "") not in _UTF8:
        raise Unreadable("client_encoding can only be utf8", "client_encoding")


def _read_settings(query: dict[str, str]) -> None:
    settings = [(name, query.pop(name)) for name in _SETTINGS if query.get(name)]
    schemas = [schema for name in _SCHEMAS if (schema := query.pop(name, ""))]
    settings += [("search_path", '"' + one.replace('"', '""') + '"') for one in schemas]
    if settings:
        given = [query["options"]] if query.get("options") else []
        query["options"] = " ".join([*given, *map(_option, settings)])


def _option(setting: tuple[str, str]) -> str:
    """Return the option of the server that sets a value; spaces separate options."""
    name, value = setting
    return f"-c {name}=" + value.replace("\\", "\\\\").replace(" ", "\\ ")


def _unknown(names: set[str], known: set[str]) -> Unreadable:
    from oneoff.utils.suggestions import similar

    listed = listed_names(names)
    if any(not name.isidentifier() for name in names):
        return Unreadable(f"unknown parameter {listed} after '?'")
    first = min(names)
    if first in _NO_MEANING:
        return Unreadable(f"{first} has no meaning here: {_NO_MEANING[first]}", first)
    meant = similar(first, known, limit=1)
    hint = f"; did you mean {meant[0]}?" if meant else ""
    return Unreadable(f"unknown parameter {listed} after '?'{hint}", first)


def listed_names(names: set[str]) -> str:
    """Return the names for a message.

    A text that is not a name may be part of a password with an unescaped "?".
    """
    return ", ".join(repr(name) if name.isidentifier() else "(no name)" for name in sorted(names))
