"""Open the resource `cache`: a `redis.asyncio` client that obeys the mode of its run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.config.redis_url import redis_url
from oneoff.config.settings import Config
from oneoff.core.policy import Mode
from oneoff.core.run import Run

if TYPE_CHECKING:
    from redis.asyncio import Redis


@asynccontextmanager
async def open_cache(config: Config, mode: Mode, run: Run) -> AsyncIterator[Redis]:
    """Connect, and open the resource `cache`.

    Raises:
        ConfigurationError: REDIS_URL is not set or wrong, or the server refuses the login.
        Unavailable: The server can't be reached, or is too slow.
    """
    from oneoff.redis.client import connect

    async with connect(redis_url(config), mode, name=f"oneoff/{run.id}") as client:
        yield client
