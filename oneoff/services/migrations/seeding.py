"""Choose and load a project's sample data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oneoff.config import environment
from oneoff.core.errors import Refused
from oneoff.core.project import Project
from oneoff.services import project_parts
from oneoff.services.migrations.seed import Seed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


def choose_seeds(project: Project, where: str, name: str = "") -> tuple[list[Seed], list[str]]:
    """Return the seeds to load, and the names of those this environment leaves out.

    Args:
        project: Whose seeds.
        where: The environment of the run.
        name: One seed; all of them when empty.

    Raises:
        ConfigurationError: The project has no seeds, or two of one name.
        UsageError: None of them has this name.
        Refused: None of those wanted may run in a protected environment.
    """
    seeds: list[Seed] = project_parts.SEEDS.of(project, code="no-seeds")
    wanted = [seed for seed in seeds if name in ("", seed.name)]
    if not wanted:
        raise project_parts.SEEDS.unknown(name, seeds, code="unknown-seed")
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
