"""Choose and run a project's warmers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oneoff.core.policy import Mode
from oneoff.core.project import Project
from oneoff.services import project_parts
from oneoff.services.cache.warmers import Warmer
from oneoff.utils.concurrency import together

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress


def choose_warmers(project: Project, name: str = "") -> list[Warmer]:
    """Return the warmers to run: the one of this name, or all of them.

    Raises:
        ConfigurationError: The project has no warmers, or two of one name.
        UsageError: None of them has this name.
    """
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
    """Run them, some at a time, and return the keys each one wrote; the first error stops all.

    Each has a session of its own that can't write: the cache is what it fills.
    """
    from oneoff.database.transaction import begin_work
    from oneoff.runtime.read_only import read_only_connections

    places = asyncio.Semaphore(concurrency)

    async def run(warmer: Warmer) -> dict[str, Any]:
        async with places, begin_work(database, Mode.READ_ONLY) as work:
            with read_only_connections(Mode.READ_ONLY, clients=False):
                written = await warmer.run(work.session, cache)
        progress.advance()
        return {"warmer": warmer.name, "keys": written}

    progress.start(len(warmers), unit="warmers")
    return await together([run(warmer) for warmer in warmers])
