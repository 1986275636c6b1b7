"""The project's own settings, as the resource `settings`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from oneoff.config import Config
from oneoff.errors import ConfigurationError
from oneoff.project import Project, load_object


@asynccontextmanager
async def open_settings(project: Project, config: Config) -> AsyncIterator[Any]:
    """Read and check the project's pydantic-settings class.

    Raises:
        ConfigurationError: Every setting that is missing or wrong, together; values are not shown.
    """
    yield load_settings(project, config)


def load_settings(project: Project, config: Config) -> Any:
    """Return an instance of `Project(settings=...)`."""
    from pydantic import ValidationError

    if not project.settings:
        raise ConfigurationError(
            "the project names no settings class",
            try_='Project(..., settings="app.settings:Settings")',
            code="settings-not-configured",
        )
    settings_class = load_object(project.settings)
    try:
        # Private API of pydantic-settings for its most public feature: which file to read.
        return settings_class(_env_file=config.root / ".env")
    except ValidationError as exc:
        raise ConfigurationError(
            "; ".join(describe(error) for error in exc.errors(include_input=False)),
            why=f"{project.settings} reads them from the environment and .env",
            try_="python manage.py config check",
            code="bad-settings",
        ) from None


def describe(error: Any) -> str:
    """Return one problem as `NAME: what is wrong`, never with the value."""
    name = "_".join(str(part) for part in error["loc"]).upper() or "settings"
    message = str(error["msg"])
    return f"{name}: {message[:1].lower()}{message[1:]}"
