"""`config show`: the source of each setting, and secrets only if the operator asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import AliasChoices, Field, HttpUrl, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from oneoff import Project
from oneoff.config.settings import load_config
from oneoff.services.settings import setting_values
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from oneoff.testing import Manage

DOWN = {"DATABASE_URL": "postgres://ada:p%40ss-word@127.0.0.1:1/shop", "ENVIRONMENT": "test"}


class Settings(BaseSettings):
    """One setting of each kind."""

    model_config = SettingsConfigDict(env_prefix="SHOP_", env_ignore_empty=True)

    token_hidden_by_type: SecretStr = SecretStr("")
    smtp_password: str = "default-password"  # noqa: S105 - planted
    broker: str = "amqp://bob:planted@mq/"
    page: HttpUrl = HttpUrl("https://example.com/")
    workers: int = Field(default=4, validation_alias=AliasChoices("WEB_CONCURRENCY", "WORKERS"))
    password_min_length: int = 15


project = Project("shop", settings=f"{__name__}:Settings")


def shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **environ: str
) -> dict[str, tuple[str, ...]]:
    """Return value, source and secret of each setting of the class above, by name."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[Settings.__module__])
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    values = setting_values(load_config(tmp_path, project, environ))
    return {value.name: tuple(value[1:]) for value in values}


def test_secrets_are_masked_by_type_by_name_and_inside_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is never a secret, even if its name looks like one."""
    values = shown(tmp_path, monkeypatch, SHOP_TOKEN_HIDDEN_BY_TYPE="planted-2")  # noqa: S106

    assert ("***", "environment", "planted-2") == values["SHOP_TOKEN_HIDDEN_BY_TYPE"]
    assert ("***", "default", "default-password") == values["SHOP_SMTP_PASSWORD"]
    assert ("amqp://bob:***@mq/", "default", "amqp://bob:planted@mq/") == values["SHOP_BROKER"]
    assert ("https://example.com/", "default", "") == values["SHOP_PAGE"]
    assert ("15", "default", "") == values["SHOP_PASSWORD_MIN_LENGTH"]


def test_the_source_is_where_the_value_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable counts as not set. If two names are allowed, the one that is set counts."""
    (tmp_path / ".env").write_text("SHOP_PAGE=https://file.example/\n")

    values = shown(tmp_path, monkeypatch, WORKERS="9", SHOP_SMTP_PASSWORD="")

    assert ("https://file.example/", ".env", "") == values["SHOP_PAGE"]
    assert ("9", "environment", "") == values["WORKERS"]
    assert "default" == values["SHOP_SMTP_PASSWORD"][1]


@ON_SQLITE
async def test_it_works_when_the_database_is_down(manage: Manage) -> None:
    """It never shows the password."""
    outcome = await manage("config show", environ=DOWN)

    assert 0 == outcome.exit_code, outcome.stderr
    assert "postgresql://ada:***@127.0.0.1:1/shop" in outcome.stdout
    assert "p%40ss-word" not in outcome.stdout + outcome.stderr


@ON_SQLITE
async def test_a_setting_that_is_not_set_shows_its_default(manage: Manage) -> None:
    """The embedded file, and the environment that follows from it."""
    outcome = await manage("config show", environ={"DATABASE_URL": "", "ENVIRONMENT": ""})

    rows = {row["name"]: (row["value"], row["source"]) for row in outcome.result.data}
    assert ("development", "default") == rows["ENVIRONMENT"]
    assert rows["DATABASE_URL"][0].endswith("/shop.sqlite3")


@ON_SQLITE
async def test_an_invalid_setting_does_not_hide_the_others(manage: Manage) -> None:
    """It is shown as it is set, with a warning."""
    outcome = await manage("config show", environ={"PASSWORD_MIN_LENGTH": "3"})

    rows = {row["name"]: row["value"] for row in outcome.result.data}
    assert "PASSWORD_MIN_LENGTH" in rows
    assert "warning: PASSWORD_MIN_LENGTH: input should be greater than" in outcome.stderr


@ON_SQLITE
@pytest.mark.parametrize("flags", ["", "--confirm", "--no-input"])
async def test_secrets_are_refused_without_a_terminal(manage: Manage, flags: str) -> None:
    """A pipe, a file or a CI log would keep them. No option changes that."""
    outcome = await manage(f"config show --show-secrets {flags}", environ=DOWN)

    assert 77 == outcome.exit_code
    assert "p%40ss-word" not in outcome.stdout + outcome.stderr


@ON_SQLITE
@pytest.mark.parametrize(("answer", "exit_code"), [("y", 0), ("n", 77)])
async def test_secrets_are_shown_at_a_terminal_after_confirmation(
    manage: Manage, answer: str, exit_code: int
) -> None:
    """On standard output only."""
    outcome = await manage("config show --show-secrets", environ=DOWN, answers=[answer])

    assert exit_code == outcome.exit_code, outcome.stderr
    assert (exit_code == 0) is (f"DATABASE_URL: {DOWN['DATABASE_URL']}\n" in outcome.stdout)
    assert "p%40ss-word" not in outcome.stderr


async def test_showing_secrets_is_recorded(manage: Manage) -> None:
    """With the operator."""
    await manage("config show --show-secrets", answers=["y"])

    listed = await manage("audit list --command 'config show'")
    assert ["tester"] == [row["operator"] for row in listed.result.data]


@ON_SQLITE
async def test_redis_and_the_secret_key_are_masked(manage: Manage) -> None:
    """The other parts of REDIS_URL are shown. Nothing is shown of a malformed one."""
    key = "0123456789abcdef-0123456789abcdef"
    environ = {"REDIS_URL": "rediss://ada:planted-pw@cache:6380/2", "SECRET_KEY": key}

    outcome = await manage("config show --json", environ=environ)
    malformed = await manage("config show", environ={"REDIS_URL": "redis://x:planted-pw@h:y/0"})

    values = {row["name"]: (row["value"], row["source"]) for row in outcome.json["data"]}
    assert ("rediss://ada:***@cache:6380/2", "environment") == values["REDIS_URL"]
    assert ("***", "environment") == values["SECRET_KEY"]
    assert key not in outcome.stdout + outcome.stderr
    assert "planted-pw" not in malformed.stdout + malformed.stderr


@ON_SQLITE
async def test_only_the_password_of_a_mail_url_is_masked(manage: Manage) -> None:
    """As in a database URL. A folder is no secret. A malformed URL is masked completely."""
    urls = {
        "": "file:outbox",
        "smtp://shop:planted-pw@mail:587": "smtp://shop:***@mail:587",
        "smtps://mail.example.com": "smtps://mail.example.com",
        "smtp://shop:planted-pw/x@mail:587": "***",
    }
    for url, shown_url in urls.items():
        outcome = await manage("config show --json", environ={"MAIL_URL": url})

        values = {row["name"]: row["value"] for row in outcome.json["data"]}
        assert shown_url == values["MAIL_URL"]
        assert "planted-pw" not in outcome.stdout + outcome.stderr


@ON_SQLITE
async def test_each_problem_is_one_warning(manage: Manage) -> None:
    """The masking of secrets does not change the warnings, and defaults are still shown."""
    environ = {
        "ONEOFF_LOG_LEVEL": "loud",
        "ONEOFF_SECRET_KEY": "planted",
        "DATABASE_URL": "mysql://h/x",
    }

    outcome = await manage("config show --json", environ=environ)

    warnings = outcome.json["warnings"]
    assert ["ONEOFF_LOG_LEVEL", "ONEOFF_SECRET_KEY", "DATABASE_URL"] == [
        line.replace(":", " ").split()[0] for line in warnings
    ]
    assert "ONEOFF_SECRET_KEY has fewer than 32 characters" == warnings[1]
    assert "planted" not in outcome.stdout + outcome.stderr
    values = {row["name"]: (row["value"], row["source"]) for row in outcome.json["data"]}
    assert ("shop@localhost", "default") == values["MAIL_FROM"]
