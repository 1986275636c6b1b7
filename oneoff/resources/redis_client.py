"""Connect to Redis with the same manners on every version of the driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from oneoff.mode import Mode
from oneoff.resources.redis_errors import translate_redis_error

if TYPE_CHECKING:
    from oneoff.redis_url import RedisURL


@asynccontextmanager
async def connect(url: RedisURL, mode: Mode, *, name: str) -> AsyncIterator[Redis]:
    """Open a client, and prove that the server answers.

    What Redis raises inside the block leaves it as a `CommandError` that names the server.

    Args:
        url: Where.
        mode: Only a run that commits may write.
        name: Shown to other clients in `CLIENT LIST`.

    Raises:
        ConfigurationError: The server refuses the login, or its certificate is not trusted.
        Unavailable: It can't be reached, or does not answer in time.
    """
    client = Redis(**arguments(url), client_name=name)
    try:
        await client.ping()
        yield client
    except RedisError as exc:
        error = translate_redis_error(exc, url)
        if error is None:
            raise
        raise error from exc
    finally:
        await client.aclose()


def arguments(url: RedisURL) -> dict[str, Any]:
    """Return the keyword arguments of a client, none of them left to a version's default."""
    given: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "db": url.db,
        "username": url.user or None,
        "password": url.password or None,
        "socket_timeout": url.timeout,
        "socket_connect_timeout": url.timeout,
        # One attempt: an operator wants to know now, and a retried write might be done twice.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }
    if url.tls:
        given |= {"ssl": True}
        if not url.verify:
            given |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    return given
