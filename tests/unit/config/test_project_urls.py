"""A project may say where its code has the URLs, instead of DATABASE_URL and REDIS_URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.config.redis_url import redis_url
from oneoff.config.settings import Config, load_config
from oneoff.core.errors import ConfigurationError
from oneoff.core.project import Project
from oneoff.utils.redaction import MOST_URLS, Redactor
from tests.support.modules import Module

URL = "postgresql+psycopg://shop:s3cret@db.example:5433/shop"
SOURCES = {
    "text": f"dsn = {URL!r}",
    "function": f"def dsn():\n    return {URL!r}",
    "secret": f"from pydantic import SecretStr\ndsn = SecretStr({URL!r})",
    "pydantic": f"from pydantic import PostgresDsn, TypeAdapter\n"
    f"dsn = TypeAdapter(PostgresDsn).validate_python({URL!r})",
    "sqlalchemy": f"from sqlalchemy import make_url\ndsn = lambda: make_url({URL!r})",
}


@pytest.fixture(autouse=True)
def no_known_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the URLs after each test, which the whole process knows."""
    monkeypatch.setattr(Redactor, "_urls", ())


def config_of(module: Module, environ: dict[str, str] | None = None) -> Config:
    """Return the settings of a project whose URLs are in a module."""
    project = Project("shop", database_url=f"{module.name}:dsn", redis_url=f"{module.name}:redis")
    return load_config(module.folder, project, environ or {})


def refusal(config: Config) -> ConfigurationError:
    """Return the error of the database's URL."""
    with pytest.raises(ConfigurationError) as caught:
        config.database()
    return caught.value


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_url_is_a_text_an_object_or_a_function(module: Module, source: str) -> None:
    """Its password is in clear text, also of objects that hide it."""
    module.write(source)

    url = config_of(module).database()

    assert ("db.example", 5433, "shop", "s3cret") == (url.host, url.port, url.user, url.password)


@pytest.mark.parametrize(
    ("environ", "environment"),
    [
        ({}, "production"),
        ({"ENVIRONMENT": "local"}, "local"),
        ({"ONEOFF_ENVIRONMENT": "staging", "ENVIRONMENT": "local"}, "staging"),
    ],
)
def test_without_an_environment_its_database_counts_as_production(
    module: Module, environ: dict[str, str], environment: str
) -> None:
    """The code is not imported to know that: only a command that connects imports it."""
    module.write("raise RuntimeError")

    config = config_of(module, environ)

    assert ((), environment) == (config.problems, config.configured_environment)


def test_the_prefixed_variable_replaces_it(module: Module) -> None:
    """A test, or an operator, chooses another database than the application has."""
    module.write("raise RuntimeError")

    config = config_of(module, {"ONEOFF_DATABASE_URL": "sqlite:///other.sqlite3"})

    assert config.database().database.endswith("other.sqlite3")


def test_another_database_in_database_url_is_refused(module: Module) -> None:
    """The operator who typed it would get the application's database, without a word."""
    module.write(SOURCES["text"])

    error = refusal(config_of(module, {"DATABASE_URL": "postgres://ada:planted@other/shop"}))

    assert "two-databases" == error.code
    assert "DATABASE_URL is postgresql://ada:***@other/shop, but " in error.message
    assert "postgresql://shop:***@db.example:5433/shop" in error.message


def test_the_same_database_in_database_url_is_no_conflict(module: Module) -> None:
    """Its user may be another one; the application's is used."""
    module.write(SOURCES["text"])

    url = config_of(module, {"DATABASE_URL": "postgres://ada@db.example:5433/shop"}).database()

    assert "shop" == url.user


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def dsn():\n    raise KeyError('POSTGRES_HOST')", "failed: "),
        ("async def dsn():\n    return ''", "is an async function"),
        ("dsn = 'mysql://root@db/shop'", "mysql:// is not supported"),
        ("other = 1", "does not exist"),
        ("dsn = None", "has no URL"),
        ("def dsn():\n    return ''", "has no URL"),
    ],
)
def test_what_is_no_url_is_an_error_that_names_the_import_string(
    module: Module, source: str, problem: str
) -> None:
    """It is found when the URL is needed."""
    module.write(source)

    message = refusal(config_of(module)).message

    assert f"{module.name}:dsn" in message
    assert problem in message


def test_an_error_of_pydantic_shows_no_value(module: Module) -> None:
    """Its own message contains the input, which may be a password."""
    module.write(
        "from pydantic import BaseModel\n"
        "class Settings(BaseModel):\n    port: int\n"
        "def dsn():\n    return Settings(port='planted')"
    )

    message = refusal(config_of(module)).message

    assert "ValidationError: port: Input should be a valid integer" in message
    assert "planted" not in message


@pytest.mark.parametrize(
    ("source", "text"), [("redis = 'redis://cache:7000/2'", "redis://cache:7000/2")]
)
def test_redis_can_be_declared_too(module: Module, source: str, text: str) -> None:
    """None, or an empty text, means that the project has no Redis."""
    module.write(source)
    assert text == redis_url(config_of(module)).safe()

    module.write("redis = None", again=True)
    assert "" == config_of(module).redis_url


def test_a_project_without_an_embedded_database_needs_a_url(tmp_path: Path) -> None:
    """No command creates a SQLite file that nobody asked for."""
    config = load_config(tmp_path, Project("shop", embedded=False), {})

    assert ["DATABASE_URL is not set, and the project declares embedded=False"] == [
        problem[:64] for problem in config.problems
    ]


def test_the_applications_env_file_is_read(tmp_path: Path) -> None:
    """It may be in another folder. Messages name it as the project does."""
    (tmp_path / "server").mkdir()
    (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///shop.db\nENVIRONMENT=dev\nBROKEN\n=\n")

    config = load_config(tmp_path / "server", Project("shop", env_file="../.env"), {})

    assert ("dev", "../.env") == (config.environment, config.source("ENVIRONMENT"))
    assert any(problem.startswith("../.env line 4") for problem in config.problems)


@pytest.mark.parametrize(
    ("in_file", "exported", "variable"),
    [
        ({"ONEOFF_DATABASE_URL": "sqlite:///a"}, {}, "ONEOFF_DATABASE_URL"),
        ({"ONEOFF_DATABASE_URL": "sqlite:///a"}, {"DATABASE_URL": "sqlite:///b"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///a"}, {"ONEOFF_DATABASE_URL": " "}, "DATABASE_URL"),
        (
            {},
            {"DATABASE_URL": "sqlite:///a", "ONEOFF_DATABASE_URL": "sqlite:///b"},
            "ONEOFF_DATABASE_URL",
        ),
    ],
)
def test_the_process_comes_before_the_file_and_then_the_prefix(
    tmp_path: Path, in_file: dict[str, str], exported: dict[str, str], variable: str
) -> None:
    """A prefixed line of `.env` does not lead an exported DATABASE_URL elsewhere."""
    lines = [f"{name}={value}\n" for name, value in in_file.items()]
    (tmp_path / ".env").write_text("".join(lines))

    config = load_config(tmp_path, Project("shop"), exported)

    assert variable == config.variable("DATABASE_URL")


def test_two_names_of_this_machine_are_one_database(module: Module) -> None:
    """`localhost` in one place and 127.0.0.1 in the other is no conflict."""
    module.write("dsn = 'postgres://shop@localhost/shop'")

    url = config_of(module, {"DATABASE_URL": "postgres://shop@127.0.0.1:5432/shop"}).database()

    assert "localhost" == url.host


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_its_password_is_masked_as_that_of_database_url(module: Module, source: str) -> None:
    """Also by a redactor that exists already, as that of a run does. The database is shown."""
    module.write(f"{source}\nredis = 'redis://:r3dis-pw@cache:7000/2'")
    redactor = Redactor()
    config = config_of(module)

    texts = ["s3cret of shop", "r3dis-pw"]
    assert texts == redactor.lines(texts)
    config.database()
    redis_url(config)

    assert ["*** of shop", "***"] == redactor.lines(texts)
    assert "***" == Redactor().text("s3cret")


def test_the_password_of_a_url_that_is_refused_is_masked(module: Module) -> None:
    """It is known before the URL is read."""
    module.write("dsn = 'mysql://root:pl4nted@db/shop'")

    assert "pl4nted" not in refusal(config_of(module)).message
    assert "***" == Redactor().text("pl4nted")


def test_only_the_last_urls_are_known() -> None:
    """A password may be valid for minutes, and a worker runs for weeks."""
    for number in range(MOST_URLS + 1):
        Redactor.know_url(f"postgres://shop:pass-{number:02}@db/shop")

    assert ["pass-00", "***", "***"] == Redactor().lines(["pass-00", "pass-01", "pass-20"])
