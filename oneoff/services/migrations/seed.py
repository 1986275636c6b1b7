"""Declare, choose and load the sample data of a project, for `db seed`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import Refused
from oneoff.core.project import Project
from oneoff.services import project_parts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One named set of sample data.

    Attributes:
        name: The name that the operator types: `db seed users`.
        help: One sentence about the data.
        run: Writes the missing rows and returns how many it wrote. Running it twice must leave the
            same data as running it once.
        production: Whether it may be loaded in protected environments: true for reference data,
            false for invented people.
    """

    name: str
    help: str
    run: Callable[[AsyncSession], Awaitable[int]]
    production: bool = False


def choose_seeds(project: Project, run: Run, name: str = "") -> tuple[list[Seed], list[str]]:
    """Return the seeds to load, and the names of those that are skipped in this environment.

    Args:
        project: The project that declares the seeds.
        run: Its environment decides which seeds may be loaded.
        name: The name of one seed; empty for all seeds.

    Raises:
        ConfigurationError: The project has no seeds, or two with the same name.
        UsageError: No seed has this name.
        Refused: No chosen seed may be loaded in this protected environment.
    """
    seeds: list[Seed] = project_parts.SEEDS.load(project, code="no-seeds")
    wanted = [seed for seed in seeds if name in ("", seed.name)]
    if not wanted:
        raise project_parts.SEEDS.unknown_name(name, seeds, code="unknown-seed")
    if not run.protected:
        return wanted, []
    allowed = [seed for seed in wanted if seed.production]
    left_out = [seed.name for seed in wanted if not seed.production]
    if not allowed:
        raise Refused(
            f"{', '.join(left_out)} must not be loaded in {run.environment}",
            why="sample data would mix with real data; the seed does not declare production=True",
            try_="if its rows belong there, declare Seed(..., production=True)",
            code="seed-refused",
        )
    return allowed, left_out


async def load_seeds(session: AsyncSession, seeds: Sequence[Seed]) -> list[dict[str, Any]]:
    """Load seeds in order in the caller's transaction; return the rows that each one wrote."""
    loaded: list[dict[str, Any]] = []
    for seed in seeds:
        rows = await seed.run(session)
        await session.flush()
        loaded.append({"seed": seed.name, "rows": rows})
    return loaded
