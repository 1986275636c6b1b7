"""Translate errors of Redis and its driver to errors that an operator can act on.

Errors are distinguished by their class if the driver has one for the answer of the server,
otherwise by the code, which is the first word of the answer. No message contains a value or the
password.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from redis import exceptions

from oneoff.core.errors import CommandError, ConfigurationError, TemporaryError, Unavailable
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from oneoff.config.redis_url import RedisURL

_TRY_LATER = {
    "LOADING": "it is loading its data from disk",
    "BUSY": "a script keeps it busy",
    "CLUSTERDOWN": "a part of the cluster is down",
    "MASTERDOWN": "it is a replica that lost its primary",
    "TRYAGAIN": "the cluster is moving keys between its nodes",
    "MISCONF": "it takes no writes because it can't save them to disk",
    "NOREPLICAS": "it takes no writes because too few replicas are connected",
}
_CODES = {
    # If the driver has a class for a code, it removes the code from the message.
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
}
_NO_SUCH_DATABASE = (
    "DB index is out of range",
    "invalid DB index",
    "SELECT is not allowed in cluster mode",
)
_HUNG_UP = ("closed by server", "reset by peer", "Connection lost", "Broken pipe")


def translate_redis_error(exc: BaseException, url: RedisURL | None = None) -> CommandError | None:
    """Return the error to report for an exception, or None if Redis did not raise it."""
    if isinstance(exc, CommandError):
        return exc
    if not isinstance(exc, exceptions.RedisError | exceptions.RedisClusterException):
        return None
    if isinstance(exc, exceptions.RedisClusterException) and exc.__cause__ is not None:
        # The driver only reports that no node answered; the cause shows why the last one did not.
        return translate_redis_error(exc.__cause__, url) or _unreachable(exc, url)
    # The driver's AuthenticationError is a ConnectionError, so it must be checked first.
    if isinstance(exc, exceptions.AuthenticationError):
        return _wrong_login(exc, url)
    if isinstance(exc, exceptions.TimeoutError):
        return _slow(url)
    code, text = _code_and_text(exc)
    if code or isinstance(exc, exceptions.ResponseError):
        return _from_answer(code, text, url)
    if isinstance(exc, exceptions.ConnectionError | exceptions.RedisClusterException):
        return _unreachable(exc, url)
    return None


def _code_and_text(exc: BaseException) -> tuple[str, str]:
    text = str(exc)
    for kind, code in _CODES.items():
        if isinstance(exc, kind):
            return code, text.removeprefix(f"{code} ")
    word, _, rest = text.partition(" ")
    is_code = word.isupper() and isinstance(exc, exceptions.ResponseError)
    return (word, rest) if is_code else ("", text)


def _wrong_login(exc: BaseException, url: RedisURL | None) -> ConfigurationError:
    text = str(exc)
    what = "the user or the password is wrong"
    if "without any password configured" in text or "no password is set" in text:
        what = "it has no password, but REDIS_URL contains one"
    elif "required" in text:
        what = "it requires a password"
    return ConfigurationError(
        f"{_server(url)} refused the connection: {what}",
        try_="correct REDIS_URL=redis://user:password@host:6379/0",
        code="bad-redis-login",
    )


def _slow(url: RedisURL | None) -> Unavailable:
    seconds = f" within {url.timeout:g} s" if url else " in time"
    tries = ["python manage.py system health", "or wait longer: REDIS_TIMEOUT=30"]
    if url is not None and url.tls:
        # A server without TLS reads the handshake as the start of a command, and waits for the end.
        tries.append("use redis:// instead of rediss:// if the server does not use TLS")
    return Unavailable(
        f"{_server(url)} did not answer{seconds}",
        why="the server is overloaded, or the network is slow",
        try_=tries,
        code="redis-slow",
    )


def _unreachable(exc: BaseException, url: RedisURL | None) -> CommandError:
    text = first_line(exc)
    if any(isinstance(link, ssl.SSLError) for link in _causes(exc)):
        return ConfigurationError(
            f"{_server(url)} can't be reached over TLS: {text}",
            try_=(
                "set REDIS_VERIFY_CERTIFICATE=false if the platform's certificate is self-signed",
                "use redis:// instead of rediss:// if the server does not use TLS",
            ),
            code="bad-redis-tls",
        )
    tries = [
        "python manage.py system health",
        "check that the server is running and that its address is right",
    ]
    if url is not None and not url.tls and any(words in text for words in _HUNG_UP):
        # A server that requires TLS closes the connection when it reads a plain command.
        tries.append("use rediss:// instead of redis:// if the server requires TLS")
    return Unavailable(
        f"{_server(url)} can't be reached: {text}", try_=tries, code="redis-unreachable"
    )


def _from_answer(code: str, text: str, url: RedisURL | None) -> CommandError:
    server, whole = _server(url), f"{code} {text}".strip()
    if code in _TRY_LATER:
        return Unavailable(
            f"{server} can't answer now: {_TRY_LATER[code]}",
            try_="python manage.py system health --wait 60s",
            code="redis-busy",
        )
    if code == "NOPERM":
        return ConfigurationError(
            f"{server} does not allow it: {text}",
            try_="grant the user in REDIS_URL this permission, or use another user",
            code="redis-permission-denied",
        )
    if code == "OOM":
        return TemporaryError(
            f"{server} has no memory left",
            try_="python manage.py cache stats",
            code="redis-out-of-memory",
        )
    return _wrong_url(whole, url) or CommandError(
        f"{server} refused the command: {whole}", code="redis-error"
    )


def _wrong_url(answer: str, url: RedisURL | None) -> ConfigurationError | None:
    """Return the error if the answer means that REDIS_URL is wrong."""
    if answer.startswith("READONLY"):
        return ConfigurationError(
            f"{_server(url)} is a replica, which takes no writes",
            try_="set REDIS_URL to the address of the primary",
            code="redis-replica",
        )
    if any(words in answer for words in _NO_SUCH_DATABASE):
        return ConfigurationError(
            f"{_server(url)} has no database {url.db if url else 'with this number'}",
            try_="correct REDIS_URL: a cluster has database 0 only, most servers 0 to 15",
            code="bad-redis-url",
        )
    return None


def _server(url: RedisURL | None) -> str:
    return url.server if url else "Redis"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
