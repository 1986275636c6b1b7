"""The settings of the application."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import ROOT, Settings
from oneoff.config.settings import SETTINGS


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the tests without the variables and the `.env` of this machine."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")


def test_the_example_file_lists_every_setting_and_no_other() -> None:
    """`.env.example` has the settings of the application and of the framework."""
    example = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)

    known = {name.upper() for name in Settings.model_fields} | {item.name for item in SETTINGS}

    assert sorted(known) == sorted(listed)


def test_every_setting_has_a_description() -> None:
    """`config show` and the reference print the descriptions."""
    assert [] == [name for name, field in Settings.model_fields.items() if not field.description]


def test_the_application_starts_without_any_variable() -> None:
    """A new clone uses the defaults."""
    settings = Settings()

    assert ("", "info", 15) == (
        settings.environment,
        settings.log_level,
        settings.password_min_length,
    )


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some platforms can't unset a variable."""
    monkeypatch.setenv("PASSWORD_MIN_LENGTH", "")

    assert 15 == Settings().password_min_length


def test_the_environment_overrides_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is for development; a deployment sets variables."""
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\nPASSWORD_MIN_LENGTH=20\nOTHER=1\n")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")

    settings = Settings()

    assert ("warning", 20) == (settings.log_level, settings.password_min_length)


def test_no_setting_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the repr nor a dump of the settings contains the database's password."""
    monkeypatch.setenv("DATABASE_URL", "postgres://shop:hunter2hunter2@db/shop")

    settings = Settings()

    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_an_error_reports_all_settings_at_once_and_repeats_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong value can be a secret in the wrong variable."""
    monkeypatch.setenv("LOG_LEVEL", "hunter2hunter2")
    monkeypatch.setenv("PASSWORD_MIN_LENGTH", "7")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert [("LOG_LEVEL",), ("PASSWORD_MIN_LENGTH",)] == [
        tuple(str(part).upper() for part in error["loc"]) for error in caught.value.errors()
    ]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "mail_url", "is_valid"),
    [
        ("production", "", False),
        ("staging", "", False),
        ("production", "smtps://mail.example", True),
        ("production", "file:outbox", True),
        ("development", "", True),
        ("test", "", True),
    ],
)
def test_mail_is_not_written_to_files_by_default_outside_development(
    monkeypatch: pytest.MonkeyPatch, environment: str, mail_url: str, *, is_valid: bool
) -> None:
    """Nobody would receive it."""
    monkeypatch.setenv("ENVIRONMENT", environment)
    monkeypatch.setenv("MAIL_URL", mail_url)

    expected = (
        nullcontext() if is_valid else pytest.raises(ValidationError, match="MAIL_URL is not set")
    )
    with expected:
        assert environment == Settings().environment
