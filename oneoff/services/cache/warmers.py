"""Declare, choose and run what fills a project's cache, with `cache warm`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress

# Projects import `Warmer` from here to declare theirs: what only running them needs is imported
# inside the functions.


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


def choose_warmers(project: Project, name: str = "") -> list[Warmer]:
    """Return the warmers to run: the one of this name, or all of them.

    Raises:
        ConfigurationError: The project has no warmers, or two of one name.
        UsageError: None of them has this name.
    """
    from oneoff.services import project_parts

    warmers: list[Warmer] = project_parts.WARMERS.load(project, code="no-warmers")
    wanted = [warmer for warmer in warmers if name in ("", warmer.name)]
    if not wanted:
        raise project_parts.WARMERS.unknown_name(name, warmers, code="unknown-warmer")
    return wanted


async def run_warmers(
    warmers: Sequence[Warmer],
    database: Database,
    cache: Redis,
    progress: Progress,
    *,
    concurrency: int,
) -> list[dict[str, Any]]:
    """Run warmers, `concurrency` at a time; return the number of keys that each one wrote.

    Each has its own read-only session. The first error stops all of them.
    """
    from asyncio import Semaphore

    from oneoff.core.policy import Mode
    from oneoff.database.transaction import begin_work
    from oneoff.runtime.other_connections import read_only_connections
    from oneoff.utils.concurrency import together

    places = Semaphore(concurrency)

    async def run(warmer: Warmer) -> dict[str, Any]:
        async with places, begin_work(database, Mode.READ_ONLY) as work:
            with read_only_connections(Mode.READ_ONLY, clients=False):
                written = await warmer.run(work.session, cache)
        progress.advance()
        return {"warmer": warmer.name, "keys": written}

    progress.start(len(warmers), unit="warmers")
    return await together([run(warmer) for warmer in warmers])
