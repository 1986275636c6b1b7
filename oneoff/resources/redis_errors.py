"""What Redis or its driver raises, as errors an operator can act on.

Branches on classes and on the first word of the server's answer, which is its error code. No
message holds a key's value or the password.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from redis import exceptions

from oneoff.errors import CommandError, ConfigurationError, TemporaryError, Unavailable

if TYPE_CHECKING:
    from oneoff.redis_url import RedisURL

_LOGIN_CODES = ("NOAUTH", "WRONGPASS", "ERR AUTH", "ERR invalid password")
_TRY_LATER = {
    "LOADING": "it is loading its data from disk",
    "BUSY": "a script keeps it busy",
    "CLUSTERDOWN": "a part of the cluster is down",
    "MASTERDOWN": "it is a replica that lost its primary",
    "TRYAGAIN": "the cluster is moving keys between its nodes",
}


def translate_redis_error(exc: BaseException, url: RedisURL | None = None) -> CommandError | None:
    """Return what to tell the operator about an exception, or None if Redis did not raise it."""
    if isinstance(exc, CommandError):
        return exc
    if not isinstance(exc, exceptions.RedisError):
        return None
    server = url.server if url else "Redis"
    if _is_login(exc):
        return _wrong_login(exc, server, url)
    if isinstance(exc, exceptions.TimeoutError):
        seconds = f" within {url.timeout:g} s" if url else " in time"
        return Unavailable(
            f"{server} did not answer{seconds}",
            why="the server is overloaded, or the network between is slow",
            try_=("python manage.py system health", "or give it more time: REDIS_TIMEOUT=30"),
            code="redis-slow",
        )
    if isinstance(exc, exceptions.ResponseError):
        return _from_answer(str(exc), server)
    if isinstance(exc, exceptions.ConnectionError | exceptions.RedisClusterException):
        return _unreachable(exc, server)
    return None


def _is_login(exc: BaseException) -> bool:
    if isinstance(exc, exceptions.AuthenticationError):
        return True
    return str(exc).startswith(_LOGIN_CODES)


def _wrong_login(exc: BaseException, server: str, url: RedisURL | None) -> ConfigurationError:
    asked = str(exc).startswith("NOAUTH") or (url is not None and not url.password)
    what = "it asks for a password" if asked else "user or password are wrong"
    return ConfigurationError(
        f"{server} refused the connection: {what}",
        try_="correct REDIS_URL=redis://user:password@host:6379/0",
        code="bad-redis-login",
    )


def _unreachable(exc: BaseException, server: str) -> CommandError:
    if isinstance(exc, ssl.SSLError) or isinstance(exc.__cause__, ssl.SSLError):
        return ConfigurationError(
            f"{server} can't be reached over TLS: {_first_line(exc)}",
            try_=(
                "REDIS_VERIFY_CERTIFICATE=false, where the platform's certificate is self-signed",
                "redis:// instead of rediss://, where the server does not encrypt",
            ),
            code="bad-redis-tls",
        )
    return Unavailable(
        f"{server} can't be reached: {_first_line(exc)}",
        try_=("python manage.py system health", "look whether the server runs, and at its address"),
        code="redis-unreachable",
    )


def _from_answer(text: str, server: str) -> CommandError:
    word = text.partition(" ")[0]
    if word in _TRY_LATER:
        return Unavailable(
            f"{server} can't answer now: {_TRY_LATER[word]}",
            try_="python manage.py system health --wait 60s",
            code="redis-busy",
        )
    if word == "NOPERM":
        return ConfigurationError(
            f"{server} does not allow it: {text.partition(' ')[2]}",
            try_="give the user in REDIS_URL this permission, or name another user",
            code="redis-permission-denied",
        )
    if word == "READONLY":
        return ConfigurationError(
            f"{server} is a replica, which takes no writes",
            try_="correct REDIS_URL: give the address of the primary",
            code="redis-replica",
        )
    if word == "OOM":
        return TemporaryError(
            f"{server} has no memory left",
            try_="python manage.py cache stats",
            code="redis-out-of-memory",
        )
    return CommandError(f"{server} refused the command: {text}", code="redis-error")


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
