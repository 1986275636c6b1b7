"""Read the project's own settings, and provide them as the resource `settings`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from oneoff.config.settings import Config, why_quoted
from oneoff.core.errors import ConfigurationError
from oneoff.core.project import load_object
from oneoff.utils.redaction import is_secret_name


@asynccontextmanager
async def open_settings(config: Config) -> AsyncIterator[Any]:
    """Open the resource `settings`: an instance of the project's pydantic-settings class.

    Raises:
        ConfigurationError: Settings are missing or wrong. It names all of them, without values.
    """
    yield load_settings(config)


def load_settings(config: Config) -> Any:
    """Return an instance of `Project(settings=...)`, which is read from the environment.

    Args:
        config: Has the variables of the process and of `.env`, and the project, which names its
            settings class.

    Raises:
        ConfigurationError: `bad-settings`: settings are missing or wrong. It names all of them,
            without values. `settings-not-configured`: the project declares no class.
    """
    from pydantic import ValidationError

    if not config.project.settings:
        raise ConfigurationError(
            "the project declares no settings class",
            try_='declare it: Project(..., settings="app.settings:Settings")',
            code="settings-not-configured",
        )
    try:
        return instantiate_settings(config)
    except ValidationError as exc:
        raise ConfigurationError(
            "; ".join(
                problem_line(*problem) for problem in validation_problems(exc, config.environ)
            ),
            why=f"{config.project.settings} reads them from the environment and "
            f"{config.project.env_file}",
            try_="python manage.py config check",
            code="bad-settings",
        ) from None


def instantiate_settings(config: Config) -> Any:
    """Return an instance of the settings class. Raises pydantic's own errors."""
    settings_class = load_object(config.project.settings)
    log = logging.getLogger("dotenv.main")
    before, log.disabled = log.disabled, True  # `Config.problems` reports the unreadable lines
    try:
        # `_env_file` looks private, but is the documented argument for the file to read.
        return settings_class(_env_file=config.root / config.project.env_file)
    finally:
        log.disabled = before


def validation_problems(error: Any, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return each problem of a ValidationError as variable and text, without the value.

    Args:
        error: The error.
        environ: The variables. A value in quotes is the problem itself: it is not what was meant.
    """
    problems = []
    for one in error.errors(include_input=False):
        name = "_".join(str(part) for part in one["loc"]).upper() or "settings"
        text = _lowered(str(one["msg"]).removeprefix("Value error, "))
        problems.append((name, why_quoted(environ.get(name, "")) or text))
    return problems


def problem_line(name: str, problem: str) -> str:
    """Return one problem as a line.

    A secret's name gets no colon: the text after "SECRET_KEY:" would be masked as the key.
    """
    return f"{name} {problem}" if is_secret_name(name) else f"{name}: {problem}"


def _lowered(text: str) -> str:
    # A message that starts with a variable keeps its capitals: "MAIL_FROM is ...".
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
