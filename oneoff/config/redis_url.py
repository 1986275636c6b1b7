"""Parse the Redis URL as platforms provide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from oneoff.core.errors import ConfigurationError
from oneoff.utils.secret_names import MASK

if TYPE_CHECKING:
    from oneoff.config.settings import Config

PORT = 6379
_SCHEMES = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
"""Whether the connection is encrypted, by scheme."""


class RedisURL(NamedTuple):
    """The parts of one Redis URL.

    Attributes:
        host: Name or address of the server, or of any node of a cluster.
        port: The port of the server.
        db: The number of the database; a cluster has only 0.
        user: The user; empty for the server's default user.
        password: The password in clear text. `safe` and `repr` never show it.
        tls: Whether the connection is encrypted.
        verify: Whether the server's certificate must be trusted.
        timeout: Seconds for one answer of the server, including the connection.
    """

    host: str
    port: int = PORT
    db: int = 0
    user: str = ""
    password: str = ""
    tls: bool = False
    verify: bool = True
    timeout: float = 5.0

    def __repr__(self) -> str:
        """Return the URL without its password, so that tracebacks and logs can't leak it."""
        return f"RedisURL({self.safe()!r})"

    @property
    def server(self) -> str:
        """The server, for messages."""
        return f"Redis at {self._address()}"

    @property
    def name(self) -> str:
        """The database's name in a target: `host/0`, with the port if it is not 6379."""
        port = "" if self.port == PORT else f":{self.port}"
        return f"{self.host}{port}/{self.db}"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        from oneoff.utils.hosts import is_local_host

        return is_local_host(self.host)

    def safe(self) -> str:
        """Return the URL for messages, with *** instead of the password.

        A user without a password is masked too: in `redis://secret@host` the colon before the
        password was probably forgotten.
        """
        scheme = "rediss" if self.tls else "redis"
        login = f"{quote(self.user, safe='')}:{MASK}" if self.password else self.user and MASK
        return f"{scheme}://{login}{'@' if login else ''}{self._address()}/{self.db}"

    def _address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def redis_url(config: Config) -> RedisURL:
    """Return the checked REDIS_URL.

    Raises:
        ConfigurationError: It is not set or can't be used. The message never contains the password.
    """
    text = config.redis_url
    if not text:
        raise ConfigurationError(
            "REDIS_URL is not set",
            why="this command needs a Redis server",
            try_=(
                "REDIS_URL=redis://localhost:6379/0 python manage.py ...",
                "set REDIS_URL in .env",
            ),
            code="redis-not-configured",
        )
    url = parse_redis_url(text)
    return url._replace(verify=config.redis_verify_certificate, timeout=config.redis_timeout)


def parse_redis_url(text: str) -> RedisURL:
    """Parse a Redis URL.

    Raises:
        ConfigurationError: It can't be used. The message never contains the password.
    """
    try:
        return _parse(text.strip())
    except _Unreadable as exc:
        problem = str(exc)
    except ValueError:
        # Messages of urlsplit contain pieces of the URL, which may be a part of the password.
        problem = "its host and port can't be read"
    raise ConfigurationError(
        f"REDIS_URL can't be used: {problem}",
        try_=(
            "REDIS_URL=redis://:password@host:6379/0",
            "in the password, write @ as %40, / as %2F and ? as %3F",
        ),
        code="bad-redis-url",
    )


class _Unreadable(Exception):
    """A problem of a URL; its message contains nothing of the password."""


def _parse(text: str) -> RedisURL:
    scheme, colon, _ = text.partition("://")
    if not colon or scheme.lower() not in _SCHEMES:
        raise _Unreadable("it doesn't start with redis:// or rediss://")
    parts = urlsplit(text, allow_fragments=False)
    query = dict(parse_qsl(parts.query))
    db = query.pop("db", "") or parts.path.strip("/") or "0"
    if query:
        names = ", ".join(sorted(name if name.isidentifier() else "(no name)" for name in query))
        raise _Unreadable(
            f"unknown parameter {names} after '?'; set timeouts and certificates with "
            "REDIS_TIMEOUT and REDIS_VERIFY_CERTIFICATE"
        )
    if not parts.hostname:
        raise _Unreadable("it names no host")
    if not db.isdecimal():
        # A "/" or "?" in the password is not percent-encoded, so the text after it became the path.
        raise _Unreadable("the text after the host is not the number of a database")
    return RedisURL(
        host=unquote(parts.hostname),
        port=parts.port or PORT,
        db=int(db),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=_SCHEMES[scheme.lower()],
    )
