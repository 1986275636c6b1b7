"""Connect to Redis, with the same behaviour for all versions of the driver.

Timeouts, retries, the protocol and the size of the pool are set explicitly, because the defaults of
redis-py 5 and 8 differ. The server itself reports whether it is part of a cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from oneoff.core.policy import Mode
from oneoff.redis.errors import translate_redis_error

if TYPE_CHECKING:
    from oneoff.config.redis_url import RedisURL
    from oneoff.redis.guard import WriteGuard

POOL_SIZE = 20
"""Most connections of a client; if all are busy, a task waits for one."""
NODE_POOL_SIZE = 1_000
"""Most connections to one node of a cluster; if all are busy, a task fails without waiting."""
POOL_WAIT = 60.0
"""Seconds that a task waits for a connection; a longer wait means that the command leaks them."""


class OneAttemptCluster(RedisCluster):
    """A client of a cluster that follows moved keys, but does not send a failed command again.

    The client of a single server does the same: the operator sees the error at once, and no write
    is done twice.
    """

    # The errors after which redis-py would send the command again.
    ERRORS_ALLOW_RETRY: Any = ()


@asynccontextmanager
async def connect(
    url: RedisURL, mode: Mode, *, name: str, fails_run: bool = True
) -> AsyncIterator[Redis]:
    """Open a client, and check that the server answers.

    For a cluster it is a `RedisCluster`, which has the same methods. Errors of Redis in the block
    are translated to a `CommandError` that names the server.

    Args:
        url: The server.
        mode: Only a run that commits may write.
        name: The client's name in `CLIENT LIST`.
        fails_run: Whether to raise the error of a refused write at the end, even if the block
            caught it.

    Raises:
        ConfigurationError: The server refuses the login, or its certificate is not trusted.
        Unavailable: The server can't be reached, or does not answer in time.
        ReadOnlyViolation: The block tried to write in a read-only run, even if it caught the error.
        DryRunViolation: The same in a dry run that is rolled back.
    """
    guard = _guard(mode)
    with _translated(url), _raise_refused(guard if fails_run else None):
        client = await _open(url, guard, name)
        try:
            yield client
        finally:
            await _close(client)


@asynccontextmanager
async def each_primary(client: Redis) -> AsyncIterator[list[Redis]]:
    """Open a client for each server that stores keys: for each primary of a cluster.

    SCAN, INFO and similar commands answer for one node only, so each node must be asked. The
    clients have the same guard as `client`, and are closed with the block.
    """
    cluster = as_cluster(client)
    if cluster is None:
        yield [client]
        return
    await cluster.initialize()
    async with AsyncExitStack() as stack:
        primaries = []
        for node in cluster.get_primaries():
            pool = ConnectionPool(
                node.connection_class, max_connections=POOL_SIZE, **node.connection_kwargs
            )
            primary = Redis.from_pool(pool)
            stack.push_async_callback(_close, primary)
            primaries.append(primary)
        yield primaries


def as_cluster(client: object) -> RedisCluster | None:
    """Return the client if it is one of a cluster, otherwise None."""
    return client if isinstance(client, RedisCluster) else None


def arguments(url: RedisURL) -> dict[str, Any]:
    """Return the keyword arguments of a client, so that none depends on the driver's version."""
    given: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "db": url.db,
        "username": url.user or None,
        "password": url.password or None,
        "socket_timeout": url.timeout,
        "socket_connect_timeout": url.timeout,
        "socket_keepalive": True,
        "health_check_interval": 0,
        # A single attempt; see `OneAttemptCluster`.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }
    if url.tls:
        given |= {
            "ssl": True,
            "ssl_cert_reqs": "required" if url.verify else "none",
            "ssl_check_hostname": url.verify,
        }
    return given


def _guard(mode: Mode) -> WriteGuard | None:
    if mode is Mode.COMMIT:
        return None
    # Runs that commit don't import the guard.
    from oneoff.redis.guard import WriteGuard

    return WriteGuard(mode)


async def _open(url: RedisURL, guard: WriteGuard | None, name: str) -> Redis:
    client = _one_server(url, guard, name)
    try:
        async with _timeout(url):
            is_cluster = await _is_cluster(client)
            if guard is not None:
                guard.learn(await _command_table(client))
        if not is_cluster:
            return client
    except BaseException:
        await _close(client)
        raise
    # The first client was needed only to ask the server what it is.
    await _close(client)
    cluster = _cluster(url, guard, name)
    async with _timeout(url):
        await cluster.initialize()
    # `RedisCluster` has the methods of `Redis`, but redis-py declares no common type.
    return cluster  # type: ignore[return-value]


def _one_server(url: RedisURL, guard: WriteGuard | None, name: str) -> Redis:
    connection_class = SSLConnection if url.tls else Connection
    given = arguments(url)
    given.pop("ssl", None)
    pool = BlockingConnectionPool(
        max_connections=POOL_SIZE,
        timeout=POOL_WAIT,  # type: ignore[arg-type] # any number will do
        connection_class=guard.guarded(connection_class) if guard else connection_class,
        client_name=name,
        **given,
    )
    return Redis.from_pool(pool)


def _cluster(url: RedisURL, guard: WriteGuard | None, name: str) -> RedisCluster:
    given = arguments(url)
    del given["db"]
    make: Any = OneAttemptCluster  # an abstract class for pyright
    cluster: RedisCluster = make(max_connections=NODE_POOL_SIZE, client_name=name, **given)
    if hasattr(cluster, "cluster_error_retry_attempts"):
        # Before version 6, this counts attempts in addition to `retry`; with 0, a pipeline would
        # not be sent at all.
        cluster.cluster_error_retry_attempts = 1
    if guard is not None:
        # The connections to all nodes are created with these arguments. The node that exists
        # already is only asked for the others.
        given = cluster.nodes_manager.connection_kwargs
        given["connection_class"] = guard.guarded(given["connection_class"])
    return cluster


async def _is_cluster(client: Redis) -> bool:
    """Return whether the server is part of a cluster; raise an error if it does not answer.

    An older server, or one that does not allow this user to ask, counts as a single server. If it
    is part of a cluster, the first key of another node raises an error.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("PING")
    pipeline.execute_command("HELLO")
    alive, hello = await pipeline.execute(raise_on_error=False)
    if isinstance(alive, Exception):
        raise alive
    if not isinstance(hello, Exception):
        # With RESP2, the answer is a flat list of names and values.
        facts = dict(zip(hello[::2], hello[1::2], strict=False))
        return bool(facts.get(b"mode") == b"cluster")
    try:
        info = await client.info("server")
    except exceptions.ResponseError:
        return False
    return "cluster" in (info.get("redis_mode"), info.get("server_mode"))


async def _command_table(client: Redis) -> Any:
    """Return the server's raw answer to COMMAND, because redis-py 5 and 8 parse it differently."""
    # Ask with another client of the pool, because removing the callback changes the client.
    pool: Any = client.connection_pool
    asking = Redis(connection_pool=pool)
    asking.response_callbacks.pop("COMMAND", None)
    return await asking.execute_command("COMMAND")  # type: ignore[no-untyped-call]


async def _close(client: Redis | RedisCluster) -> None:
    # An error while closing would hide the error of the work.
    with suppress(exceptions.RedisError, OSError):
        await client.aclose()


@asynccontextmanager
async def _timeout(url: RedisURL) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(url.timeout):
            yield
    except TimeoutError as exc:
        raise exceptions.TimeoutError(str(exc)) from exc


@contextmanager
def _translated(url: RedisURL) -> Iterator[None]:
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException) as exc:
        error = translate_redis_error(exc, url)
        if error is None:
            raise
        raise error from exc


@contextmanager
def _raise_refused(guard: WriteGuard | None) -> Iterator[None]:
    """Raise the error of the guard's first refusal, even if the command caught it."""
    try:
        yield
    except Exception as exc:
        if guard is None or guard.refused is None or guard.refused is exc:
            raise
        raise guard.refused from exc
    if guard is not None and guard.refused is not None:
        raise guard.refused
