"""List the settings of the process with masked values and their sources, and find problems.

There are two kinds of settings: the variables that the framework reads, and the fields of the
project's pydantic-settings class. A variable that both read is listed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.config.project_settings import (
    instantiate_settings,
    problem_line,
    validation_problems,
)
from oneoff.config.redis_url import redis_url
from oneoff.config.settings import SETTINGS
from oneoff.core.errors import CommandError, ConfigurationError
from oneoff.core.policy import Mode
from oneoff.core.project import load_object
from oneoff.utils.redaction import Redactor, hides
from oneoff.utils.secret_names import MASK
from oneoff.utils.suggestions import similar
from oneoff.utils.text import cell

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.settings import Config
    from oneoff.core.project import Project

URLS = ("DATABASE_URL", "MIGRATION_DATABASE_URL")
REDIS = "REDIS_URL"
_DEFAULT = "default"


class SettingValue(NamedTuple):
    """One setting.

    Attributes:
        name: The variable.
        value: The value with secrets masked.
        source: "environment", ".env", the import string of the project's own code, or "default".
        secret: The value in clear text if `value` masks a part of it, else empty.
    """

    name: str
    value: str
    source: str
    secret: str = ""


class Problem(NamedTuple):
    """A problem of one setting. It never contains the value.

    Attributes:
        setting: The variable.
        problem: The problem in words.
        temporary: Whether the setting may be right, but its server does not answer now.
    """

    setting: str
    problem: str
    temporary: bool = False

    def row(self) -> dict[str, str]:
        """Return the problem as a row of data."""
        return {"setting": self.setting, "problem": self.problem}

    def line(self) -> str:
        """Return the problem as one line."""
        return problem_line(self.setting, self.problem)


def setting_values(config: Config) -> list[SettingValue]:
    """Return all settings, also wrong ones. It connects to no server."""
    values = {value.name: value for value in _framework_values(config)}
    settings, _ = read_settings(config)
    for name, field in _fields(config.project).items():
        variable = _variable(name, field, config)
        if variable in values:
            continue
        source = _source(config, variable)
        value = _unchecked(field, variable, config) if settings is None else getattr(settings, name)
        values[variable] = _shown(variable, value, source, config)
    return list(values.values())


def read_settings(config: Config) -> tuple[Any, list[Problem]]:
    """Return an instance of the project's settings class, or None and all problems."""
    if not config.project.settings:
        return None, []
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        return instantiate_settings(config), []
    except ValidationError as exc:
        return None, [Problem(*error) for error in validation_problems(exc, config.environ)]
    except SettingsError as exc:  # a list or a nested model that is not JSON
        return None, [Problem(_quoted(str(exc)).upper(), "is not JSON")]


def framework_problems(config: Config) -> list[Problem]:
    """Return the problems of the variables that the framework reads."""
    parts = [text.partition(" ") for text in config.problems]
    return [Problem(setting, problem) for setting, _, problem in parts]


def url_problems(config: Config) -> Iterator[Problem]:
    """Yield the URLs of servers that can't be parsed."""
    for name in _used_urls(config):
        try:
            _parsed_url(config, name)
        except ConfigurationError as exc:
            place = _place(config, name)
            message = exc.message.removeprefix(f"{place} ").removeprefix(f"{place!r} ")
            yield Problem(place, message)
    try:
        if config.redis_url:
            redis_url(config)
    except ConfigurationError as exc:
        yield Problem(REDIS, exc.message.removeprefix(f"{REDIS} "))


def settings_problems(config: Config) -> list[Problem]:
    """Return all problems of the settings, without connecting to a server."""
    _, problems = read_settings(config)
    found = [*problems, *framework_problems(config), *url_problems(config)]
    # Report a variable that both the framework and the project read only once, but each line of
    # .env separately.
    by_key = {
        problem if problem.setting.startswith(config.project.env_file) else problem.setting: problem
        for problem in reversed(found)
    }
    return list(by_key.values())[::-1]


def likely_typos(config: Config) -> list[str]:
    """Return a line for each name in `.env` that nothing reads but that is similar to a known one.

    The process environment is not checked, because it contains the variables of other programs.
    """
    known = {setting.name for setting in SETTINGS}
    known |= {config.variable(name) for name in known}
    known |= {_variable(name, field, config) for name, field in _fields(config.project).items()}
    lines = []
    for name, source in config.sources.items():
        if source != config.project.env_file or name.upper() in {one.upper() for one in known}:
            continue
        # TEST_DATABASE_URL contains a known name, so it was written on purpose.
        near = [one for one in similar(name.upper(), known, limit=1) if one not in name.upper()]
        lines += [f"{source} sets {name}, which nothing reads; did you mean {one}?" for one in near]
    return lines


def check_settings(config: Config) -> None:
    """Check that a process can start with these settings. It connects to no server.

    Args:
        config: The settings that the framework reads. Its project names the settings class that
            the application reads.

    Raises:
        ConfigurationError: Settings are wrong. The message contains all problems, but no values.
    """
    problems = settings_problems(config)
    if problems:
        raise ConfigurationError(
            "; ".join(problem.line() for problem in problems),
            why="all settings are checked at the start",
            try_="python manage.py config check",
            code="bad-settings",
        )


async def connection_problems(config: Config, run_id: str) -> list[Problem]:
    """Connect to all configured servers at the same time, and return the failures."""
    unusable = {problem.setting for problem in url_problems(config)}
    checks = [
        _try_database(config, name, run_id)
        for name in _used_urls(config)
        if _place(config, name) not in unusable
    ]
    if REDIS not in unusable and config.redis_url:
        checks.append(_try_redis(config, run_id))
    return [problem for problem in await asyncio.gather(*checks) if problem]


async def _try_database(config: Config, name: str, run_id: str) -> Problem | None:
    from oneoff.database.engine import Database

    url = _parsed_url(config, name)
    if not url.exists():
        return None  # connecting would create the file, which is the task of `migrate`
    database = Database(url, run_id=run_id, project=config.project)
    try:
        async with database.connect("check") as connection:
            await connection.exec_driver_sql("SELECT 1")
    except CommandError as exc:
        return _unconnected(_place(config, name), exc)
    finally:
        await database.dispose()
    return None


async def _try_redis(config: Config, run_id: str) -> Problem | None:
    from oneoff.redis.client import connect

    try:
        async with connect(redis_url(config), Mode.READ_ONLY, name=f"oneoff/{run_id}"):
            return None
    except CommandError as exc:
        return _unconnected(REDIS, exc)


def _unconnected(name: str, error: CommandError) -> Problem:
    return Problem(name, error.message, temporary=not isinstance(error, ConfigurationError))


def _framework_values(config: Config) -> Iterator[SettingValue]:
    for setting in SETTINGS:
        name, source = config.variable(setting.name), config.source(setting.name) or _DEFAULT
        text = config.environ.get(name, "").strip() or setting.default
        if setting.name == URLS[0] and config.declares_database:
            yield _shown_url(config, URLS[0], text, config.project.database_url)
        elif setting.name in URLS and (text or setting.name == URLS[0]):
            yield _shown_url(config, setting.name, text, source)
        elif setting.name == REDIS and config.project.redis_url and config.redis_url != text:
            yield _shown_redis(config, name, config.redis_url, config.project.redis_url)
        elif setting.name == REDIS and text:
            yield _shown_redis(config, name, text, source)
        elif setting.name == "ENVIRONMENT" and not text:
            yield SettingValue(name, config.configured_environment, source)
        else:
            yield _shown(name, text, source, config)


def _shown_url(config: Config, name: str, text: str, source: str) -> SettingValue:
    variable = config.variable(name)
    try:
        url = _parsed_url(config, name)
    except ConfigurationError:  # it is unknown which part of it is the password
        return SettingValue(variable, MASK, source, text)
    return SettingValue(variable, url.safe(), source, text if url.password else "")


def _shown_redis(config: Config, variable: str, text: str, source: str) -> SettingValue:
    try:
        url = redis_url(config)
    except ConfigurationError:
        return SettingValue(variable, MASK, source, text)
    return SettingValue(variable, url.safe(), source, text if url.user or url.password else "")


def _place(config: Config, name: str) -> str:
    """Return where a URL comes from: a variable, or the import string of the project's own code."""
    declared = name == URLS[0] and config.declares_database
    return config.project.database_url if declared else config.variable(name)


def _used_urls(config: Config) -> list[str]:
    return [name for name in URLS if name == URLS[0] or config.source(name)]


def _parsed_url(config: Config, name: str) -> DatabaseURL:
    return config.database(for_migrations=name != URLS[0])


def _shown(name: str, value: Any, source: str, config: Config) -> SettingValue:
    """Return the value, masked if its type, its name or its text says that it is secret."""
    if value is None or value == "":
        return SettingValue(name, "", source)
    reveal = getattr(value, "get_secret_value", None)
    if reveal is not None:
        clear = _text(reveal())
        # pydantic's secrets show as stars; a secret type of the project may show a part of it.
        shown = str(value) if str(value).strip("*") else MASK if clear else ""
        return SettingValue(name, shown, source, clear if shown != clear else "")
    clear = _text(value)
    if hides(name, value):
        return SettingValue(name, MASK, source, clear)
    safe = _text(Redactor(config.environ).data(value))
    return SettingValue(name, safe, source, clear if safe != clear else "")


def _unchecked(field: Any, variable: str, config: Config) -> Any:
    """Return the text that is set, else the default, if the settings class can't be read."""
    from pydantic import SecretStr

    found = next((name for name in config.sources if name.upper() == variable.upper()), "")
    text = config.environ[found] if found else ""
    if not text:
        return None if field.is_required() else field.get_default(call_default_factory=True)
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, SecretStr):
        return kind(text)
    return SecretStr(text) if "Secret" in str(kind) else text


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else cell(value)


def _fields(project: Project) -> dict[str, Any]:
    if not project.settings:
        return {}
    fields: dict[str, Any] = load_object(project.settings).model_fields
    return fields


def _variable(name: str, field: Any, config: Config) -> str:
    """Return the variable that a field is read from: the one that is set, else the first alias."""
    model_config = load_object(config.project.settings).model_config
    aliases = _aliases(field.validation_alias)
    names = aliases or [f"{model_config.get('env_prefix', '')}{name}"]
    if not model_config.get("case_sensitive"):
        names = [name.upper() for name in names]
    given = {known.upper() for known in config.sources}
    return next((name for name in names if name.upper() in given), names[0])


def _aliases(alias: Any) -> list[str]:
    if alias is None or isinstance(alias, str):
        return [alias] if alias else []
    # AliasChoices has several aliases, which may be paths into JSON. AliasPath is one path.
    choices = getattr(alias, "choices", [alias])
    return [one if isinstance(one, str) else str(one.path[0]) for one in choices]


def _source(config: Config, variable: str) -> str:
    model_config = load_object(config.project.settings).model_config
    found = next((name for name in config.sources if name.upper() == variable.upper()), "")
    if not found or (model_config.get("env_ignore_empty") and not config.environ[found]):
        return _DEFAULT
    return config.sources[found]


def _quoted(text: str) -> str:
    return text.split('"')[1] if text.count('"') > 1 else "settings"
