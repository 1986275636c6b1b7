"""Read the settings of the framework itself from the environment and `.env`.

It does not use pydantic, whose import takes 150 ms at every start. A project's own settings are in
its pydantic-settings class, which reads the same sources in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from oneoff.config.environment import DEVELOPMENT, PRODUCTION, configured

LOG_LEVELS = ("debug", "info", "warning", "error")
AGENTS = ("refuse", "confirm", "allow")
"""What ONEOFF_AGENTS lets coding agents do, the strictest first."""
SECRET_KEY_LENGTH = 32
"""The minimum number of characters of SECRET_KEY; `openssl rand -hex 16` prints as many."""
NO_DATABASE = "DATABASE_URL is not set, but ENVIRONMENT is"
"""How the problem of a missing DATABASE_URL begins."""
_TRUE = ("1", "true", "yes", "on")
_QUOTES = ("''", '""', "``")
_FALSE = ("", "0", "false", "no", "off")


class Setting(NamedTuple):
    """One variable that the framework reads: its name, its default, and its meaning."""

    name: str
    default: str
    help: str
    secret: bool = False


SETTINGS = (
    Setting(
        "DATABASE_URL",
        "",
        "URL of PostgreSQL or SQLite, as platforms provide it; unset: a SQLite file, which only "
        "development may use",
    ),
    Setting(
        "MIGRATION_DATABASE_URL",
        "",
        "direct URL for migrations and locks, if DATABASE_URL goes through a pooler",
    ),
    Setting("REDIS_URL", "", "URL of Redis or Valkey, as platforms provide it; unset: not used"),
    Setting(
        "REDIS_VERIFY_CERTIFICATE",
        "true",
        "false accepts any certificate over rediss://, also a self-signed one of a platform",
    ),
    Setting(
        "REDIS_TIMEOUT", "5", "seconds to wait for each answer of Redis, including the connection"
    ),
    Setting(
        "ENVIRONMENT",
        "",
        "development, staging, production, ...; unset: development on the embedded SQLite file, "
        "production if DATABASE_URL is set",
    ),
    Setting(
        "AUDIT_REQUIRED",
        "false",
        "refuse runs that can change something and can't be recorded in the database",
    ),
    Setting(
        "SECRET_KEY",
        "",
        "signs the pass through a maintenance window; at least 32 random characters",
        secret=True,
    ),
    Setting("OPERATOR", "", "name of the operator, if the platform does not provide it"),
    Setting(
        "ONEOFF_AGENTS",
        "",
        "what coding agents may do where nothing is protected: refuse, confirm or allow; unset: "
        "confirm in development, test and ci, refuse elsewhere",
    ),
    Setting("LOG_LEVEL", "info", "debug, info, warning or error"),
)


class Config(NamedTuple):
    """The checked settings of one process.

    Attributes:
        root: The project's root folder, which contains `manage.py`.
        environ: The variables of `.env`, overridden by those of the process. Child processes get
            these too.
        sources: Where each variable of `environ` comes from: "environment" or ".env".
    """

    root: Path
    environ: Mapping[str, str]
    sources: Mapping[str, str]
    database_url: str
    migration_database_url: str
    redis_url: str
    redis_verify_certificate: bool
    redis_timeout: float
    environment: str
    audit_required: bool
    secret_key: str
    operator: str
    agents: str
    log_level: str
    problems: tuple[str, ...] = ()
    """Each starts with the name of its variable. A setting with a problem has its default."""

    @property
    def configured_environment(self) -> str:
        """The environment as configured: "development", "staging", "production", ...

        Without ENVIRONMENT it is development on the embedded SQLite file, and production if
        DATABASE_URL is set, or set elsewhere than ENVIRONMENT. A run uses the stricter of this and
        the environment stored in the database.
        """
        return configured(
            self.environment, database_url_set=bool(self.database_url), apart=self._is_apart
        )

    @property
    def environment_assumed(self) -> str:
        """Why the configured environment is not that of ENVIRONMENT; empty if it is."""
        if self.configured_environment == self.environment or not self.database_url:
            return ""
        if not self.environment:
            return (
                "ENVIRONMENT is not set, so the database of DATABASE_URL counts as "
                f"{PRODUCTION}: set ENVIRONMENT"
            )
        return (
            f"ENVIRONMENT={self.environment} is in .env and DATABASE_URL is not, so its database "
            f"counts as {PRODUCTION}: set ENVIRONMENT where DATABASE_URL is set"
        )

    @property
    def _is_apart(self) -> bool:
        """Whether ENVIRONMENT is in `.env`, and DATABASE_URL replaces the one there."""
        places = self.sources.get("ENVIRONMENT"), self.sources.get("DATABASE_URL")
        return places == (".env", "environment")


def load_config(root: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings. Problems are not raised, but collected in `Config.problems`.

    Args:
        root: The folder with `.env`.
        environ: Variables to use instead of the process environment, for tests.
    """
    environ = os.environ if environ is None else environ
    from_file, broken = _read_dotenv(root / ".env")
    merged = {**from_file, **environ}
    sources = dict.fromkeys(from_file, ".env") | dict.fromkeys(environ, "environment")
    value = {
        setting.name: merged.get(setting.name, "").strip() or setting.default
        for setting in SETTINGS
    }
    problems = broken | _problems(value)
    value |= {setting.name: setting.default for setting in SETTINGS if setting.name in problems}
    return Config(
        root=root,
        environ=merged,
        sources=sources,
        database_url=value["DATABASE_URL"],
        migration_database_url=value["MIGRATION_DATABASE_URL"],
        redis_url=value["REDIS_URL"],
        redis_verify_certificate=value["REDIS_VERIFY_CERTIFICATE"].lower() in _TRUE,
        redis_timeout=float(value["REDIS_TIMEOUT"]),
        environment=value["ENVIRONMENT"].lower(),
        audit_required=value["AUDIT_REQUIRED"].lower() in _TRUE,
        secret_key=value["SECRET_KEY"],
        operator=value["OPERATOR"],
        agents=value["ONEOFF_AGENTS"].lower(),
        log_level=value["LOG_LEVEL"].lower(),
        problems=tuple(problems.values()),
    )


def _problems(value: Mapping[str, str]) -> dict[str, str]:
    problems = {}
    for name in ("AUDIT_REQUIRED", "REDIS_VERIFY_CERTIFICATE"):
        if value[name].lower() not in _TRUE + _FALSE:
            problems[name] = f"{name} {value[name]!r} is not true or false"
    for name, choices in (("LOG_LEVEL", LOG_LEVELS), ("ONEOFF_AGENTS", ("", *AGENTS))):
        if value[name].lower() not in choices:
            listed = ", ".join(filter(None, choices))
            problems[name] = f"{name} {value[name]!r} is not one of {listed}"
    if not _is_seconds(value["REDIS_TIMEOUT"]):
        problems["REDIS_TIMEOUT"] = (
            f"REDIS_TIMEOUT {value['REDIS_TIMEOUT']!r} is not a number of seconds above 0"
        )
    environment = value["ENVIRONMENT"].lower()
    if not value["DATABASE_URL"] and environment not in ("", DEVELOPMENT):
        # The embedded file would be new and empty, and `migrate` in it a green release.
        problems["DATABASE_URL"] = f"{NO_DATABASE} {environment}"
    if 0 < len(value["SECRET_KEY"]) < SECRET_KEY_LENGTH:
        problems["SECRET_KEY"] = f"SECRET_KEY has fewer than {SECRET_KEY_LENGTH} characters"
    quoted = {name: f"{name} {why}" for name, text in value.items() if (why := why_quoted(text))}
    return problems | quoted


def why_quoted(text: str) -> str:
    """Return the problem of a value that is enclosed in quotes, or an empty text."""
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        return f"is enclosed in {text[0]} quotes, which `docker --env-file` keeps: remove them"
    return ""


def _is_seconds(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _read_dotenv(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of the file, and its problems by line."""
    if not path.is_file():
        return {}, {}
    # Imported only if there is a file: python-dotenv takes 10 ms.
    from io import StringIO

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    bindings = list(parse_stream(StringIO(path.read_text(encoding="utf-8"))))
    # An unreadable line may contain a password, so only its number is reported.
    broken = {
        f".env:{number}": f".env line {number} can't be read: "
        "is a quote not closed, or an = missing?"
        for number in (_line(one.original) for one in bindings if one.error)
    }
    good = StringIO("".join(one.original.string for one in bindings if not one.error))
    values = dotenv_values(stream=good)
    return {name: text for name, text in values.items() if text is not None}, broken


def _line(original: Any) -> int:
    """Return the line number of a binding. python-dotenv includes the blank lines before it."""
    text: str = original.string
    blank = text[: len(text) - len(text.lstrip())]
    return int(original.line) + blank.count("\n")
