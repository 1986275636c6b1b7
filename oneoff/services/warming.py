"""Choose and run a project's warmers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oneoff.errors import ConfigurationError, UsageError
from oneoff.mode import Mode
from oneoff.project import Project, load_object
from oneoff.suggest import similar
from oneoff.together import together
from oneoff.warmers import Warmer

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from oneoff.resources.database import Database
    from oneoff.resources.progress import Progress


def choose_warmers(project: Project, name: str = "") -> list[Warmer]:
    """Return the warmers to run: the one of this name, or all of them.

    Raises:
        ConfigurationError: The project has no warmers.
        UsageError: None of them has this name.
    """
    if not project.warmers:
        raise ConfigurationError(
            f"the project {project.name!r} has no warmers",
            try_='name them: Project(..., warmers="app.warmers:WARMERS"), a sequence of '
            "oneoff.Warmer",
            code="no-warmers",
        )
    warmers: list[Warmer] = list(load_object(project.warmers))
    wanted = [warmer for warmer in warmers if name in ("", warmer.name)]
    if not wanted:
        names = [warmer.name for warmer in warmers]
        near = similar(name, names)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(
            f"there is no warmer {name!r}{meant}",
            try_=(
                f"python manage.py cache warm {near[0] if near else '--dry-run'}",
                f"one of the project's warmers: {', '.join(names) or 'there are none'}",
            ),
            code="unknown-warmer",
        )
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
    from oneoff.resources.work import begin_work

    places = asyncio.Semaphore(concurrency)

    async def run(warmer: Warmer) -> dict[str, Any]:
        async with places, begin_work(database, Mode.READ_ONLY) as work:
            written = await warmer.run(work.session, cache)
        progress.advance()
        return {"warmer": warmer.name, "keys": written}

    progress.start(len(warmers), unit="warmers")
    return await together([run(warmer) for warmer in warmers])
