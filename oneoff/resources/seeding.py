"""Choose and load a project's sample data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oneoff import environment
from oneoff.errors import ConfigurationError, NotFound, Refused
from oneoff.project import Project, load_object
from oneoff.seeds import Seed
from oneoff.suggest import similar

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


def choose_seeds(project: Project, where: str, name: str = "") -> tuple[list[Seed], list[str]]:
    """Return the seeds to load, and the names of those this environment leaves out.

    Args:
        project: Whose seeds.
        where: The environment of the run.
        name: One seed; all of them when empty.

    Raises:
        ConfigurationError: The project has no seeds.
        NotFound: None of them has this name.
        Refused: None of those wanted may run in a protected environment.
    """
    wanted = _wanted(_all(project), name)
    if not environment.is_protected(where, project.protect):
        return wanted, []
    allowed = [seed for seed in wanted if seed.production]
    left_out = [seed.name for seed in wanted if not seed.production]
    if not allowed:
        raise Refused(
            f"{', '.join(left_out)} must not be loaded in {where}",
            why="sample data would mix with real data; the seed does not say production=True",
            try_="a seed whose rows belong there says so: Seed(..., production=True)",
            code="seed-refused",
        )
    return allowed, left_out


async def load_seeds(session: AsyncSession, seeds: Sequence[Seed]) -> list[dict[str, Any]]:
    """Load them in order, in the caller's transaction; return the rows each one wrote."""
    loaded: list[dict[str, Any]] = []
    for seed in seeds:
        rows = await seed.run(session)
        await session.flush()
        loaded.append({"seed": seed.name, "rows": rows})
    return loaded


def _all(project: Project) -> list[Seed]:
    if not project.seeds:
        raise ConfigurationError(
            f"the project {project.name!r} has no seeds",
            try_='name them: Project(..., seeds="app.seeds:seeds"), a sequence of oneoff.Seed',
            code="no-seeds",
        )
    return list(load_object(project.seeds))


def _wanted(seeds: list[Seed], name: str) -> list[Seed]:
    wanted = [seed for seed in seeds if name in ("", seed.name)]
    if not wanted:
        names = [seed.name for seed in seeds]
        raise NotFound(
            f"there is no seed {name!r}",
            why=f"the project's seeds: {', '.join(names) or 'none'}",
            try_=[f"python manage.py db seed {near}" for near in similar(name, names, limit=1)],
            code="unknown-seed",
        )
    return wanted
