"""The settings of the application."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import ROOT, Settings
from oneoff.config.settings import SETTINGS


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this machine's variables and `.env` out of the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")


def test_the_example_file_lists_every_setting_and_no_other() -> None:
    """`.env.example` is complete: the application's settings and the framework's."""
    example = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)

    known = {name.upper() for name in Settings.model_fields} | {item.name for item in SETTINGS}

    assert sorted(known) == sorted(listed)


def test_every_setting_says_what_it_is_for() -> None:
    """`config show` and the reference print the descriptions."""
    assert [] == [name for name, field in Settings.model_fields.items() if not field.description]


def test_the_defaults_need_no_environment() -> None:
    """A fresh clone starts with nothing set."""
    settings = Settings()

    assert ("", "info", 15) == (
        settings.environment,
        settings.log_level,
        settings.password_min_length,
    )


def test_a_variable_set_to_nothing_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms can't always unset a variable."""
    monkeypatch.setenv("PASSWORD_MIN_LENGTH", "")

    assert 15 == Settings().password_min_length


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is for development; a deployment sets variables."""
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\nPASSWORD_MIN_LENGTH=20\nOTHER=1\n")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")

    settings = Settings()

    assert ("warning", 20) == (settings.log_level, settings.password_min_length)


def test_no_setting_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor a dump of the settings holds the database's password."""
    monkeypatch.setenv("DATABASE_URL", "postgres://shop:hunter2hunter2@db/shop")

    settings = Settings()

    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_an_error_reports_all_settings_at_once_and_repeats_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was given may be a secret in the wrong variable."""
    monkeypatch.setenv("LOG_LEVEL", "hunter2hunter2")
    monkeypatch.setenv("PASSWORD_MIN_LENGTH", "7")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert [("LOG_LEVEL",), ("PASSWORD_MIN_LENGTH",)] == [
        tuple(str(part).upper() for part in error["loc"]) for error in caught.value.errors()
    ]
    assert "hunter2" not in str(caught.value)
