"""What a project puts into its cache ahead of time, with `cache warm`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmer:
    """One named part of the cache.

    Attributes:
        name: What the operator types: `cache warm user-counts`.
        help: One sentence for the listing.
        run: Reads the database, writes the cache, and returns how many keys it wrote. Its session
            is its own and read-only; the client is shared with the other warmers. Running it
            twice must leave the same keys as once.
    """

    name: str
    help: str
    run: Callable[[AsyncSession, Redis], Awaitable[int]]
