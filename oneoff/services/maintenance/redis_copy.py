"""Read and write the copy of the maintenance state in Redis, which replaces database queries.

The key expires after a day. Each process that has read the database writes the key again, so it is
written about once a second. The age of the copy is the key's lifetime minus its remaining time to
live. Both are measured by the Redis server, so the clocks of the other machines need not agree. If
the database is unavailable, a new process uses even an old copy as the last known state.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError, Unavailable
from oneoff.core.policy import Mode
from oneoff.services.maintenance.window import Window, decode, encode

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.redis_url import RedisURL
    from oneoff.config.settings import Config

KEY_LIFETIME = 86_400.0
"""Seconds after which the key expires."""
COMMAND_TIMEOUT = 1.0
"""Seconds that a command waits for Redis, for each read or write."""


class Copy(NamedTuple):
    """The content of the copy.

    Attributes:
        window: The open window; None if no window was open.
        age: Seconds since it was read from the database; infinite if that is unknown.
    """

    window: Window | None
    age: float


class RedisCopy:
    """Reads and writes the copy over one connection, which is closed after an error.

    Args:
        url: The URL of Redis.
        key: The key of the copy, from `key_of`.
        limit: Seconds that one read or write may take, including the time to connect.
    """

    def __init__(self, url: RedisURL, key: str, *, limit: float) -> None:
        self._url = url._replace(timeout=min(limit, url.timeout))
        self._key = key
        self._limit = limit
        self._stack: AsyncExitStack | None = None
        self._redis: Redis | None = None

    async def read(self) -> Copy | None:
        """Return the copy, or None if there is none.

        Raises:
            CommandError: Redis can't be reached, did not answer in time, or refused the command.
        """
        async with self._client() as client:
            # PTTL before GET: if the copy is replaced in between, it seems older than it is. In the
            # other order, an old copy would seem new.
            left = await client.pttl(self._key)
            text = await client.get(self._key)
        if text is None:
            return None
        # PTTL is negative if the key has no expiry, as when another program wrote it.
        age = KEY_LIFETIME - left / 1000
        try:
            return Copy(decode(text), age if 0 <= age <= KEY_LIFETIME else float("inf"))
        except ValueError:
            return None

    async def write(self, window: Window | None, *, age: float = 0.0) -> None:
        """Replace the copy. Raises the errors of `read`.

        Args:
            window: The state in the database.
            age: Seconds since the database was asked.
        """
        async with self._client() as client:
            left = max(round((KEY_LIFETIME - age) * 1000), 1)
            await client.set(self._key, encode(window), px=left)

    async def aclose(self) -> None:
        """Close the connection. The next read or write opens a new one."""
        stack, self._stack, self._redis = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Redis]:
        try:
            async with asyncio.timeout(self._limit):
                yield self._redis or await self._connect()
        except BaseException as exc:
            # Close it after a cancellation too. The answer that was not read would be taken for the
            # answer to the next command.
            await self.aclose()
            if error := self._error(exc):
                raise error from exc
            raise

    def _error(self, exc: BaseException) -> CommandError | None:
        from oneoff.redis.errors import translate_redis_error

        if isinstance(exc, TimeoutError):
            message = f"{self._url.server} did not answer within {self._limit:g} s"
            return Unavailable(message, code="redis-slow")
        return translate_redis_error(exc, self._url)

    async def _connect(self) -> Redis:
        from oneoff.redis.client import connect

        stack = AsyncExitStack()
        client = connect(self._url, Mode.COMMIT, name="oneoff/maintenance")
        self._redis = await stack.enter_async_context(client)
        self._stack = stack
        return self._redis


@asynccontextmanager
async def open_copy(config: Config) -> AsyncIterator[RedisCopy]:
    """Open the copy for a command. REDIS_URL must be set.

    Raises:
        ConfigurationError: DATABASE_URL or REDIS_URL can't be used.
    """
    database = config.database()
    copy = RedisCopy(
        redis_url(config), key_of(config.project.name, database), limit=COMMAND_TIMEOUT
    )
    try:
        yield copy
    finally:
        await copy.aclose()


async def announced_window(client: Redis, config: Config) -> Window | None:
    """Return the window that is open according to the copy; None if there is none.

    The copy may be old or missing. This does not read the database, whose state is the valid one.

    Args:
        client: The caller's connection; it may be read-only.
        config: Has the URL of the database that the copy belongs to.
        project: Its name is part of the copy's key.
    """
    try:
        database = config.database()
        copy = await client.get(key_of(config.project.name, database))
        window = decode(copy) if copy else None
    except (ConfigurationError, ValueError):
        return None
    return window if window and window.is_open() else None


def key_of(project_name: str, database: DatabaseURL) -> str:
    """Return the key of the copy.

    It contains a digest of the database's address. Staging and production may share a Redis server,
    but must not share a maintenance state.
    """
    address = f"{database.host}:{database.port}/{database.database}"
    digest = hashlib.blake2b(address.encode(), digest_size=6).hexdigest()
    return f"oneoff:maintenance:{project_name}:{digest}"
