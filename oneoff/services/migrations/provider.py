"""Open the resource `migrations` for a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from oneoff.core.errors import ConfigurationError
from oneoff.services.migrations.resource import Migrations

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.policy import Mode
    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock


@asynccontextmanager
async def open_migrations(
    config: Config, database: Database, lock: HeldLock | None, mode: Mode
) -> AsyncIterator[Migrations]:
    """Open the resource `migrations`.

    Raises:
        ConfigurationError: `Project(migrations=...)` is not set, or its folder has no env.py.
    """
    project = config.project
    if not project.migrations:
        raise ConfigurationError(
            f"the project {project.name!r} has no migrations",
            try_='declare their folder: Project(..., migrations="migrations")',
            code="no-migrations",
        )
    folder = config.root / project.migrations
    if not (folder / "env.py").is_file():
        declared = f"the project declares migrations={project.migrations!r}"
        zipped = next((parent for parent in folder.parents if parent.is_file()), None)
        raise ConfigurationError(
            f"{project.migrations}/env.py does not exist",
            why=f"{zipped} is a file, and revisions are read from folders" if zipped else declared,
            try_=f"create {project.migrations}/env.py with three lines: see `oneoff.run_env`",
            code="no-migrations",
        )

    file = config.database().database
    migrations = Migrations(
        folder, config.root, database, lock, mode, metadata=project.metadata, file=file
    )
    try:
        yield migrations
    finally:
        await migrations.close()
