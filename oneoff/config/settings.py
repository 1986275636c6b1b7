"""Read the settings of the framework itself from the environment and `.env`.

It does not use pydantic, whose import takes 150 ms at every start. A project's own settings are in
its pydantic-settings class, which reads the same sources in the same order.

Each setting is read from ONEOFF_<NAME>, and else from <NAME>. An application may use LOG_LEVEL or
SECRET_KEY in its own way, so a value of these that is not valid here is ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config.env_file import read_env_file
from oneoff.config.environment import DEVELOPER, PRODUCTION, configured

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL
    from oneoff.core.project import Project

PREFIX = "ONEOFF_"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "text", "json", "none")
_LOG_LEVELS_ELSEWHERE = {
    "0": "debug",
    "10": "debug",
    "20": "info",
    "30": "warning",
    "40": "error",
    "50": "error",
    "notset": "debug",
    "trace": "debug",
    "warn": "warning",
    "critical": "error",
    "fatal": "error",
}
"""The names and numbers of levels in `logging` and in other libraries."""
AGENTS = ("refuse", "confirm", "allow")
"""What ONEOFF_AGENTS lets coding agents do, the strictest first."""
SECRET_KEY_LENGTH = 32
"""The minimum number of characters of SECRET_KEY; `openssl rand -hex 16` prints as many."""
NO_DATABASE = "DATABASE_URL is not set"
"""How the problem of a missing DATABASE_URL begins."""
_SHARED = ("LOG_LEVEL", "LOG_FORMAT", "SECRET_KEY")
"""Names that applications use for something else: without the prefix, a wrong value is ignored."""
NOTICES = ("failures", "policy", "writes")
"""The choices of ONEOFF_WEBHOOK_RUNS: runs that failed; runs that policy refuses, or that needed
an approval, a typed target or --break-glass; and runs that wrote to a protected environment."""
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
    Setting("LOG_FORMAT", "auto", "auto, text, json, or none for no log of commands"),
    Setting(
        "SENTRY_DSN",
        "",
        "where unexpected errors of commands, web and worker are reported; unset: nowhere",
        secret=True,
    ),
    Setting(
        "ONEOFF_WEBHOOK_URL",
        "",
        "URL to which notices about runs are posted, in the form of Slack; unset: none are",
        secret=True,
    ),
    Setting(
        "ONEOFF_WEBHOOK_RUNS",
        ",".join(NOTICES),
        "the runs that it is told about: failures, policy, writes, or several of them",
    ),
)


class Config(NamedTuple):
    """The checked settings of one process.

    Attributes:
        root: The project's root folder, which contains `manage.py`.
        project: The project, which may declare where its URLs are.
        environ: The variables of `.env`, overridden by those of the process. Child processes get
            these too.
        sources: Where each variable of `environ` comes from: "environment" or ".env".
        database_setting: DATABASE_URL; `database` returns the URL that is used.
        redis_setting: REDIS_URL; `redis_url` is the one that is used.
        problems: Each starts with the name of its variable. A setting with a problem has its
            default.
        ignored: The values of shared names, such as LOG_LEVEL, that are not valid here; each starts
            with the name.
    """

    root: Path
    project: Project
    environ: Mapping[str, str]
    sources: Mapping[str, str]
    database_setting: str
    migration_database_url: str
    redis_setting: str
    redis_verify_certificate: bool
    redis_timeout: float
    environment: str
    audit_required: bool
    secret_key: str
    operator: str
    agents: str
    log_level: str
    log_format: str
    sentry_dsn: str
    webhook_url: str
    webhook_runs: frozenset[str]
    problems: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def variable(self, name: str) -> str:
        """Return the variable that a setting is read from: "ONEOFF_<NAME>", or its name.

        Args:
            name: The setting: "DATABASE_URL".
        """
        return _variable(name, self.environ, self.sources)

    def source(self, name: str) -> str:
        """Return where a setting comes from: "environment", ".env", or empty if it is not set.

        Args:
            name: The setting: "DATABASE_URL".
        """
        variable = self.variable(name)
        is_set = bool(self.environ.get(variable, "").strip())
        return self.sources.get(variable, "") if is_set else ""

    def database(self, *, for_migrations: bool = False) -> DatabaseURL:
        """Return the URL of the database.

        Args:
            for_migrations: Whether to return MIGRATION_DATABASE_URL if it is set.

        Raises:
            ConfigurationError: It is not a valid URL, the code that provides it failed, or
                DATABASE_URL names another database than that code. The message never contains the
                password.
        """
        from oneoff.config.database_url import parse_database_url
        from oneoff.config.project_urls import declared_url, refuse_other

        def parsed(text: str, setting: str) -> DatabaseURL:
            return parse_database_url(text, self.root, self.project.name, setting=setting)

        if for_migrations and self.migration_database_url:
            return parsed(self.migration_database_url, self.variable("MIGRATION_DATABASE_URL"))
        setting, declared = self.variable("DATABASE_URL"), self.project.database_url
        if not self.declares_database:
            return parsed(self.database_setting, setting)
        url = parsed(declared_url(declared, required=True), declared)
        if self.database_setting:
            refuse_other(parsed(self.database_setting, setting), url, declared)
        return url

    @property
    def redis_url(self) -> str:
        """The URL of Redis as text; empty if the project uses none.

        Raises:
            ConfigurationError: The project's own code, which provides the URL, failed.
        """
        if not self.project.redis_url or self.variable("REDIS_URL").startswith(PREFIX):
            return self.redis_setting
        from oneoff.config.project_urls import declared_url

        return declared_url(self.project.redis_url)

    @property
    def declares_database(self) -> bool:
        """Whether the project's own code provides the URL, and no setting replaces it."""
        overridden = self.variable("DATABASE_URL").startswith(PREFIX)
        return bool(self.project.database_url) and not overridden

    @property
    def configured_environment(self) -> str:
        """The environment as configured: "development", "staging", "production", ...

        Without ENVIRONMENT it is development on the embedded SQLite file, and production if
        DATABASE_URL is set, or set elsewhere than ENVIRONMENT. A run uses the stricter of this and
        the environment stored in the database.
        """
        return configured(
            self.environment, database_url_set=self._names_database, apart=self._is_apart
        )

    @property
    def _names_database(self) -> bool:
        return bool(self.database_setting) or self.declares_database

    @property
    def environment_assumed(self) -> str:
        """Why the configured environment is not that of ENVIRONMENT; empty if it is."""
        if self.configured_environment == self.environment or not self._names_database:
            return ""
        url = self.project.database_url if self.declares_database else self.variable("DATABASE_URL")
        if not self.environment:
            return (
                f"ENVIRONMENT is not set, so the database of {url} counts as "
                f"{PRODUCTION}: set ENVIRONMENT"
            )
        return (
            f"ENVIRONMENT={self.environment} is in {self.project.env_file} and {url} is not, so "
            f"its database counts as {PRODUCTION}: set ENVIRONMENT where {url} is set"
        )

    @property
    def _is_apart(self) -> bool:
        """Whether ENVIRONMENT is in `.env`, and DATABASE_URL replaces the one there."""
        places = self.source("ENVIRONMENT"), self.source("DATABASE_URL")
        return places == (self.project.env_file, "environment")


def load_config(root: Path, project: Project, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings. Problems are not raised, but collected in `Config.problems`.

    Args:
        root: The project's root folder, with `.env`.
        project: The project.
        environ: Variables to use instead of the process environment, for tests.
    """
    environ = os.environ if environ is None else environ
    from_file, broken = read_env_file(root / project.env_file, project.env_file)
    merged = {**from_file, **environ}
    sources = dict.fromkeys(from_file, project.env_file) | dict.fromkeys(environ, "environment")
    variables = {setting.name: _variable(setting.name, merged, sources) for setting in SETTINGS}
    value = {
        setting.name: merged.get(variables[setting.name], "").strip() or setting.default
        for setting in SETTINGS
    }
    value["ENVIRONMENT"] = value["ENVIRONMENT"].lower()
    level = value["LOG_LEVEL"].lower()
    value["LOG_LEVEL"] = _LOG_LEVELS_ELSEWHERE.get(level, level)
    value["LOG_FORMAT"] = value["LOG_FORMAT"].lower()
    wrong = _problems(value, variables) | _missing_database(value, project)
    ignored = {
        name: wrong.pop(name)
        for name in _SHARED
        if variables[name] == name and name in wrong and not why_quoted(value[name])
    }
    value |= {one.name: one.default for one in SETTINGS if one.name in wrong or one.name in ignored}
    return Config(
        root=root,
        project=project,
        environ=merged,
        sources=sources,
        database_setting=value["DATABASE_URL"],
        migration_database_url=value["MIGRATION_DATABASE_URL"],
        redis_setting=value["REDIS_URL"],
        redis_verify_certificate=value["REDIS_VERIFY_CERTIFICATE"].lower() in _TRUE,
        redis_timeout=float(value["REDIS_TIMEOUT"]),
        environment=value["ENVIRONMENT"],
        audit_required=value["AUDIT_REQUIRED"].lower() in _TRUE,
        secret_key=value["SECRET_KEY"],
        operator=value["OPERATOR"],
        agents=value["ONEOFF_AGENTS"].lower(),
        log_level=value["LOG_LEVEL"],
        log_format=value["LOG_FORMAT"],
        sentry_dsn=value["SENTRY_DSN"],
        webhook_url=value["ONEOFF_WEBHOOK_URL"],
        webhook_runs=_words(value["ONEOFF_WEBHOOK_RUNS"]),
        problems=tuple((broken | wrong).values()),
        ignored=tuple(ignored.values()),
    )


def _variable(name: str, environ: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return the variable that is used: the process comes before the file, then the prefix."""
    names = [name] if name.startswith(PREFIX) else [PREFIX + name, name]
    given = [one for one in names if environ.get(one, "").strip()]
    typed = [one for one in given if sources[one] == "environment"]
    return (typed or given or [name])[0]


def _problems(value: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with the values, by the name of the setting."""
    problems = {}
    for name in ("AUDIT_REQUIRED", "REDIS_VERIFY_CERTIFICATE"):
        if value[name].lower() not in _TRUE + _FALSE:
            problems[name] = f"{value[name]!r} is not true or false"
    chosen = {"LOG_LEVEL": LOG_LEVELS, "LOG_FORMAT": LOG_FORMATS, "ONEOFF_AGENTS": ("", *AGENTS)}
    for name, choices in chosen.items():
        if value[name].lower() not in choices:
            listed = ", ".join(filter(None, choices))
            problems[name] = f"{value[name]!r} is not one of {listed}"
    if not _is_seconds(value["REDIS_TIMEOUT"]):
        problems["REDIS_TIMEOUT"] = f"{value['REDIS_TIMEOUT']!r} is not a number of seconds above 0"
    problems |= _webhook_problems(value)
    if 0 < len(value["SECRET_KEY"]) < SECRET_KEY_LENGTH:
        problems["SECRET_KEY"] = f"has fewer than {SECRET_KEY_LENGTH} characters"
    quoted = {name: why for name, text in value.items() if (why := why_quoted(text))}
    return {name: f"{variables[name]} {problem}" for name, problem in (problems | quoted).items()}


def _missing_database(value: Mapping[str, str], project: Project) -> dict[str, str]:
    if value["DATABASE_URL"] or project.database_url:
        return {}
    if not project.embedded:
        why = "the project declares embedded=False, so it has no SQLite file to use instead"
        return {"DATABASE_URL": f"{NO_DATABASE}, and {why}"}
    if value["ENVIRONMENT"] in DEVELOPER | {""}:
        return {}
    # The embedded file would be new and empty, and `migrate` in it a green release.
    return {"DATABASE_URL": f"{NO_DATABASE}, but ENVIRONMENT is {value['ENVIRONMENT']}"}


def _webhook_problems(value: Mapping[str, str]) -> dict[str, str]:
    problems = {}
    url = value["ONEOFF_WEBHOOK_URL"]
    if url and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        problems["ONEOFF_WEBHOOK_URL"] = "is not an http:// or https:// URL"
    unknown = sorted(_words(value["ONEOFF_WEBHOOK_RUNS"]) - set(NOTICES))
    if unknown:
        problems["ONEOFF_WEBHOOK_RUNS"] = f"{unknown[0]!r} is not one of {', '.join(NOTICES)}"
    return problems


def _words(text: str) -> frozenset[str]:
    """Return the words of a list that is separated by commas."""
    return frozenset(filter(None, (word.strip().lower() for word in text.split(","))))


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
