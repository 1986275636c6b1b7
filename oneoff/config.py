"""The few settings the framework itself reads, from the environment or `.env`.

Kept free of pydantic: reading five variables must not cost 150 ms at every start. A project's own
settings are its pydantic-settings class, which reads the same sources in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

LOG_LEVELS = ("debug", "info", "warning", "error")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


class Setting(NamedTuple):
    """One variable: its name, what it means when unset, and what it is for."""

    name: str
    default: str
    help: str
    secret: bool = False


SETTINGS = (
    Setting(
        "DATABASE_URL",
        "",
        "PostgreSQL or SQLite, as platforms hand it out (postgres://...); unset: a SQLite file",
    ),
    Setting(
        "MIGRATION_DATABASE_URL",
        "",
        "direct URL for migrations and locks, where DATABASE_URL goes through a pooler",
    ),
    Setting(
        "ENVIRONMENT",
        "",
        "development, staging, production, ...; unset: development on the embedded SQLite file, "
        "production as soon as DATABASE_URL is set",
    ),
    Setting("AUDIT_REQUIRED", "false", "refuse every run that can't be recorded in the database"),
    Setting("OPERATOR", "", "who runs the command, where the platform doesn't say"),
    Setting("LOG_LEVEL", "info", "debug, info, warning or error"),
)


class Config(NamedTuple):
    """The settings of one process, checked.

    Attributes:
        root: The project's root folder: where `manage.py` stands.
        environ: Process environment over `.env`: what a command sees, and child processes get.
        sources: Where each variable of `environ` that matters came from: "environment" or ".env".
    """

    root: Path
    environ: Mapping[str, str]
    sources: Mapping[str, str]
    database_url: str
    migration_database_url: str
    environment: str
    audit_required: bool
    operator: str
    log_level: str
    problems: tuple[str, ...] = ()
    """What is wrong, each beginning with its variable; such a setting has its default."""


def load_config(root: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings; whoever needs right ones looks at `problems`.

    Args:
        root: Where `.env` is looked for.
        environ: Instead of the process environment, for tests.
    """
    environ = os.environ if environ is None else environ
    from_file = _read_dotenv(root / ".env")
    merged = {**from_file, **environ}
    sources = dict.fromkeys(from_file, ".env") | dict.fromkeys(environ, "environment")
    value = {
        setting.name: merged.get(setting.name, "").strip() or setting.default
        for setting in SETTINGS
    }
    problems = _problems(value)
    value |= {setting.name: setting.default for setting in SETTINGS if setting.name in problems}
    return Config(
        root=root,
        environ=merged,
        sources=sources,
        database_url=value["DATABASE_URL"],
        migration_database_url=value["MIGRATION_DATABASE_URL"],
        environment=value["ENVIRONMENT"].lower(),
        audit_required=value["AUDIT_REQUIRED"].lower() in _TRUE,
        operator=value["OPERATOR"],
        log_level=value["LOG_LEVEL"].lower(),
        problems=tuple(problems.values()),
    )


def _problems(value: Mapping[str, str]) -> dict[str, str]:
    problems = {}
    for name, allowed in (("AUDIT_REQUIRED", _TRUE + _FALSE), ("LOG_LEVEL", LOG_LEVELS)):
        if value[name].lower() not in allowed:
            choices = "true or false" if allowed[0] in _TRUE else f"one of {', '.join(allowed)}"
            problems[name] = f"{name} {value[name]!r} is not {choices}"
    return problems


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    # Imported only where there is a file: python-dotenv costs 10 ms.
    from dotenv import dotenv_values

    return {name: text for name, text in dotenv_values(path).items() if text is not None}
