"""`config check`: everything that is wrong, together, and never with its value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

MESSAGE = "all settings are right, and the database answers\n"

if TYPE_CHECKING:
    from oneoff.testing import Manage


def files(folder: Path, prefix: str) -> list[Path]:
    """Return what is there of that name."""
    return list(folder.glob(f"{prefix}*"))


async def test_right_settings_exit_0(manage: Manage) -> None:
    """On both databases."""
    outcome = await manage("config check")

    assert (0, MESSAGE) == (outcome.exit_code, outcome.stdout), outcome.stderr


async def test_a_file_that_is_not_there_yet_is_no_mistake(manage: Manage, tmp_path: Path) -> None:
    """And looking does not make it."""
    path = tmp_path / "new.sqlite3"

    outcome = await manage("config check", environ={"DATABASE_URL": f"sqlite:///{path}"})

    assert (0, []) == (outcome.exit_code, files(tmp_path, "new"))
    assert "the database is not there yet" in outcome.stdout


async def test_all_that_is_wrong_is_reported_together(manage: Manage) -> None:
    """A setting of the project, the shape of one URL, and the connection of another."""
    environ = {
        "DATABASE_URL": "postgres://ada:p%40ss-word@127.0.0.1:1/shop",
        "MIGRATION_DATABASE_URL": "mysql://ada:s3cr3t-too@db/shop",
        "PASSWORD_MIN_LENGTH": "3",
    }

    outcome = await manage("config check --json", environ=environ)

    assert 78 == outcome.exit_code
    assert ["PASSWORD_MIN_LENGTH", "MIGRATION_DATABASE_URL", "DATABASE_URL"] == [
        row["setting"] for row in outcome.json["data"]
    ]
    assert "3 settings are wrong: " in outcome.json["message"]
    for secret in ("p%40ss-word", "p@ss-word", "s3cr3t-too"):
        assert secret not in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("name", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
async def test_a_malformed_url_is_named_and_not_shown(manage: Manage, name: str) -> None:
    """A piece of it may be the password."""
    outcome = await manage("config check", environ={name: "postgres://ada:p%40ss-word@db:x/shop"})

    assert 78 == outcome.exit_code
    assert name in outcome.stdout
    assert "ss-word" not in outcome.stdout + outcome.stderr


async def test_the_frameworks_own_settings_are_checked_with_the_others(manage: Manage) -> None:
    """One table for all."""
    environ = {"AUDIT_REQUIRED": "perhaps", "LOG_LEVEL": "loud", "PASSWORD_MIN_LENGTH": "3"}

    outcome = await manage("config check --json", environ=environ)

    assert 78 == outcome.exit_code
    assert set(environ) == {row["setting"] for row in outcome.json["data"]}


async def test_other_commands_do_not_start_with_wrong_settings(manage: Manage) -> None:
    """They name what is wrong, and the command that tells more."""
    outcome = await manage("user list", environ={"LOG_LEVEL": "loud"})

    assert 78 == outcome.exit_code
    assert "LOG_LEVEL 'loud' is not one of debug, info, warning, error" in outcome.stderr
    assert "  try:  python manage.py config check\n" in outcome.stderr
