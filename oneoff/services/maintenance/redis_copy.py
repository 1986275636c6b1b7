"""The copy of the maintenance state in Redis, which spares the database most of the questions.

The key lives for a day and is written anew about once a second by whichever process asked the
database. How old it is follows from what is left of its life, on the server's own clock: no two
machines need the same time. A copy that is too old to be believed still tells a process that was
just started what held before the database went away.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.database_url import parse_database_url
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError, Unavailable
from oneoff.core.policy import Mode
from oneoff.services.maintenance.window import Window, decode, encode

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.redis_url import RedisURL
    from oneoff.config.settings import Config
    from oneoff.core.project import Project

LIFE = 86_400.0
"""Seconds the key lives."""
COMMAND_LIMIT = 1.0
"""Seconds Redis has for a command's question; what it can't be told, the database tells."""


class Copy(NamedTuple):
    """What the copy says.

    Attributes:
        window: None if no window was open.
        age: Seconds since the database said so; infinite if it can't be told.
    """

    window: Window | None
    age: float


class RedisCopy:
    """Reads and writes the copy over a connection that stays open until something goes wrong.

    Args:
        url: Of Redis.
        key: See `key_of`.
        limit: Seconds one reading or writing may take, connecting included.
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
            CommandError: Redis can't be reached, did not answer in time, or refuses.
        """
        async with self._client() as client:
            # In this order: a copy that is written in between is taken for older than it is.
            left = await client.pttl(self._key)
            text = await client.get(self._key)
        if text is None:
            return None
        age = LIFE - left / 1000
        try:
            return Copy(decode(text), age if 0 <= age <= LIFE else float("inf"))
        except ValueError:
            return None

    async def write(self, window: Window | None, *, age: float = 0.0) -> None:
        """Replace the copy; raises what `read` raises.

        Args:
            window: What the database says.
            age: Seconds since the database was asked.
        """
        async with self._client() as client:
            left = max(round((LIFE - age) * 1000), 1)
            await client.set(self._key, encode(window), px=left)

    async def aclose(self) -> None:
        """Close the connection; the next reading opens another."""
        stack, self._stack, self._redis = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Redis]:
        try:
            async with asyncio.timeout(self._limit):
                yield self._redis or await self._connect()
        except BaseException as exc:
            # Also after a cancellation: an answer nobody read would be taken for the next one's.
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
async def open_copy(config: Config, project: Project) -> AsyncIterator[RedisCopy]:
    """Give the copy to a command; REDIS_URL is set.

    Raises:
        ConfigurationError: DATABASE_URL or REDIS_URL can't be used.
    """
    database = parse_database_url(config.database_url, config.root, project.name)
    copy = RedisCopy(redis_url(config), key_of(project.name, database), limit=COMMAND_LIMIT)
    try:
        yield copy
    finally:
        await copy.aclose()


async def announced_window(client: Redis, config: Config, project: Project) -> Window | None:
    """Return the window that the copy says is open, for an operator who wonders; None if none.

    The copy may be old, or missing: what counts is the database, which is not asked here.

    Args:
        client: The caller's own connection, which need not be allowed to write.
        config: Says which database the copy is of.
        project: Its name is part of the copy's key.
    """
    try:
        database = parse_database_url(config.database_url, config.root, project.name)
        copy = await client.get(key_of(project.name, database))
        window = decode(copy) if copy else None
    except (ConfigurationError, ValueError):
        return None
    return window if window and window.is_open() else None


def key_of(project_name: str, database: DatabaseURL) -> str:
    """Return the key of the copy.

    It holds a digest of the database's address, because staging and production may share a Redis,
    and must not share their maintenance.
    """
    address = f"{database.host}:{database.port}/{database.database}"
    digest = hashlib.blake2b(address.encode(), digest_size=6).hexdigest()
    return f"oneoff:maintenance:{project_name}:{digest}"
