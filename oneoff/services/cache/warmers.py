"""Declare, select and run the warmers of a project, which fill its cache: `cache warm`."""

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

# Projects import `Warmer` from here to declare their warmers. Modules that are only needed to run
# them are imported inside the functions.


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmer:
    """One named part of the cache.

    Attributes:
        name: Name that the operator types: `cache warm user-counts`.
        help: One sentence that describes it.
        run: Reads the database, writes the cache, and returns the number of keys it wrote. Its
            session is read-only and not shared; the client is shared with the other warmers.
            Running it twice must leave the same keys as running it once.
    """

    name: str
    help: str
    run: Callable[[AsyncSession, Redis], Awaitable[int]]


def choose_warmers(project: Project, name: str = "") -> list[Warmer]:
    """Return the warmers to run: the one of this name, or all of them.

    Raises:
        ConfigurationError: The project has no warmers, or two with the same name.
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
