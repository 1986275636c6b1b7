"""`config check`: all problems together, and never the value of a setting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oneoff import ConfigurationError, Project
from oneoff.config.settings import load_config
from oneoff.services.settings import check_settings, likely_typos, settings_problems
from tests.support.on_sqlite import ON_SQLITE

SETTINGS = "app.settings:Settings"
MESSAGE = "all settings are valid, and the database answers\n"

if TYPE_CHECKING:
    from oneoff.testing import Manage


def files(folder: Path, prefix: str) -> list[Path]:
    """Return the files whose names have this prefix."""
    return list(folder.glob(f"{prefix}*"))


async def test_valid_settings_exit_0(manage: Manage) -> None:
    """On both databases."""
    outcome = await manage("config check")

    assert (0, MESSAGE) == (outcome.exit_code, outcome.stdout), outcome.stderr


@ON_SQLITE
async def test_a_file_that_does_not_exist_yet_is_no_problem(manage: Manage, tmp_path: Path) -> None:
    """The check does not create it."""
    path = tmp_path / "new.sqlite3"

    outcome = await manage("config check", environ={"DATABASE_URL": f"sqlite:///{path}"})

    assert (0, []) == (outcome.exit_code, files(tmp_path, "new"))
    assert "the database does not exist yet" in outcome.stdout


@ON_SQLITE
async def test_a_server_that_does_not_answer_exits_69(manage: Manage) -> None:
    """The settings may be valid, so another attempt may succeed."""
    environ = {
        "DATABASE_URL": "postgres://ada:p%40ss-word@127.0.0.1:1/shop",
        "REDIS_URL": "redis://:p%40ss-word@127.0.0.1:1/0",
    }

    outcome = await manage("config check --json", environ=environ)

    assert (69, "unavailable") == (outcome.exit_code, outcome.json["error"]["code"])
    assert "no server answers at DATABASE_URL, REDIS_URL" == outcome.json["error"]["message"]
    assert ["DATABASE_URL", "REDIS_URL"] == [row["setting"] for row in outcome.json["data"]]
    assert "ss-word" not in outcome.stdout + outcome.stderr


@ON_SQLITE
async def test_redis_is_checked_if_it_is_set(manage: Manage, redis_url: str) -> None:
    """With a right and a wrong password."""
    right = await manage("config check", environ={"REDIS_URL": redis_url})
    wrong = await manage("config check", environ={"REDIS_URL": redis_url.replace("@", "x@")})

    assert (0, MESSAGE.replace("\n", "; Redis answers\n")) == (right.exit_code, right.stdout)
    assert 78 == wrong.exit_code
    assert "refused the connection: the user or the password is wrong" in wrong.stdout


@ON_SQLITE
async def test_all_problems_are_reported_together(manage: Manage) -> None:
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


@ON_SQLITE
@pytest.mark.parametrize("name", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
async def test_a_malformed_url_is_named_and_not_shown(manage: Manage, name: str) -> None:
    """A part of it may be the password."""
    outcome = await manage("config check", environ={name: "postgres://ada:p%40ss-word@db:x/shop"})

    assert 78 == outcome.exit_code
    assert name in outcome.stdout
    assert "ss-word" not in outcome.stdout + outcome.stderr


@ON_SQLITE
async def test_the_frameworks_own_settings_are_checked_with_the_others(manage: Manage) -> None:
    """One table has all problems."""
    environ = {
        "AUDIT_REQUIRED": "perhaps",
        "ONEOFF_LOG_LEVEL": "loud",
        "PASSWORD_MIN_LENGTH": "3",
        "ONEOFF_SECRET_KEY": "short",
        "REDIS_TIMEOUT": "soon",
        "REDIS_URL": "http://redis",
    }

    outcome = await manage("config check --json", environ=environ)

    assert 78 == outcome.exit_code
    assert sorted(environ) == sorted(row["setting"] for row in outcome.json["data"])


@ON_SQLITE
async def test_other_commands_do_not_start_with_invalid_settings(manage: Manage) -> None:
    """The error names the setting and suggests `config check`."""
    outcome = await manage("user list", environ={"ONEOFF_LOG_LEVEL": "loud"})

    assert 78 == outcome.exit_code
    assert "ONEOFF_LOG_LEVEL 'loud' is not one of debug, info, warning, error" in outcome.stderr
    assert "  try:  python manage.py config check\n" in outcome.stderr


@ON_SQLITE
@pytest.mark.parametrize(
    ("name", "value"),
    [("MAIL_URL", "ftp://planted-value"), ("MAIL_URL", "file:"), ("MAIL_FROM", "planted-value")],
)
async def test_invalid_mail_settings_are_found_before_the_first_mail(
    manage: Manage, name: str, value: str
) -> None:
    """By the check, which names the setting."""
    outcome = await manage("config check --json", environ={name: value})

    assert (78, [name]) == (outcome.exit_code, [row["setting"] for row in outcome.json["data"]])
    assert "planted-value" not in outcome.stdout + outcome.stderr


def test_an_unused_name_in_the_env_file_may_be_a_typo(tmp_path: Path) -> None:
    """Names of other programs are not reported."""
    lines = "PASSWORD_MIN_LENGHT=20\nREDIS_ULR=x\nTEST_DATABASE_URL=x\nPORT=1\nLOG_LEVEL=info\n"
    (tmp_path / ".env").write_text(lines)

    project = Project("shop", settings=SETTINGS)
    typos = likely_typos(load_config(tmp_path, project, {}))

    assert [
        ".env sets PASSWORD_MIN_LENGHT, which nothing reads; did you mean PASSWORD_MIN_LENGTH?",
        ".env sets REDIS_ULR, which nothing reads; did you mean REDIS_URL?",
    ] == typos


@pytest.mark.parametrize(
    ("text", "line"),
    [('A=1\n\nDATABASE_URL="postgres://u:planted@h/x\n', 3), ("DATABASE_URL planted\n", 1)],
)
def test_a_line_of_the_env_file_that_cannot_be_read_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, line: int
) -> None:
    """It is named by its number. No command starts without the setting on that line."""
    (tmp_path / ".env").write_text(text)
    config = load_config(tmp_path, Project("shop", settings=SETTINGS), {})

    with pytest.raises(ConfigurationError) as caught:
        check_settings(config)

    assert (
        f".env: line {line} can't be read: is a quote not closed, or an = missing?"
        == caught.value.message
    )
    assert (1, ("", "")) == (len(config.problems), tuple(capfd.readouterr()))


@ON_SQLITE
async def test_a_value_for_the_application_is_a_warning(manage: Manage) -> None:
    """It says that the framework does not use it; other commands run."""
    outcome = await manage("config check --json", environ={"SECRET_KEY": "changethis"})

    assert 0 == outcome.exit_code, outcome.stderr
    assert ["SECRET_KEY has fewer than 32 characters, so it is not used here"] == outcome.json[
        "warnings"
    ]


def url_of_the_application() -> str:
    """Fail, as code does whose variable is not set."""
    raise KeyError("POSTGRES_SERVER")


async def test_a_url_that_the_application_has_is_named_by_its_place(tmp_path: Path) -> None:
    """DATABASE_URL is not what has to be corrected."""
    place = f"{__name__}:url_of_the_application"
    config = load_config(tmp_path, Project("shop", database_url=place), {})

    (problem,) = settings_problems(config)

    assert place == problem.setting
    assert problem.problem.startswith("failed: ")
