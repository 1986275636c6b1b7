"""`system info`: versions and settings, without contacting any service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import oneoff
from oneoff import Project
from oneoff.commands.system.info import _why
from oneoff.config.settings import load_config
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from pathlib import Path

    from oneoff.testing import Manage

DOWN = "postgres://ada:p%40ss-word@127.0.0.1:1/shop"


@ON_SQLITE
async def test_it_works_without_a_database(manage: Manage) -> None:
    """Its address is shown, its password is not."""
    environ = {"DATABASE_URL": DOWN, "CODE_VERSION": "abc123"}

    outcome = await manage("system info --json", environ=environ)

    data = outcome.json["data"]
    assert 0 == outcome.exit_code
    assert {
        "project": "shop",
        "environment": "test",
        "environment_from": "ENVIRONMENT (environment)",
        "database": "postgresql://ada:***@127.0.0.1:1/shop",
        "operator": "tester",
        "operator_from": "setting",
        "code_version": "abc123",
        "oneoff": oneoff.__version__,
    }.items() <= data.items()
    assert {"python", "platform", "sqlalchemy", "alembic", "asyncpg", "aiosqlite"} <= data.keys()


@ON_SQLITE
@pytest.mark.parametrize(
    ("url", "environment", "why"),
    [
        ("", "development", "nothing is set: the embedded SQLite file counts as development"),
        (DOWN, "production", "ENVIRONMENT is not set, so the database of DATABASE_URL "),
    ],
)
async def test_it_shows_why_this_is_the_environment(
    manage: Manage, url: str, environment: str, why: str
) -> None:
    """Without ENVIRONMENT, it follows from the other settings."""
    outcome = await manage("system info", environ={"DATABASE_URL": url, "ENVIRONMENT": ""})

    data = outcome.result.data
    assert (environment, why) == (data["environment"], data["environment_from"][: len(why)])


@pytest.mark.parametrize(
    ("in_file", "declared", "why"),
    [
        ("", "app.project:url", "ENVIRONMENT is not set, so the database of app.project:url "),
        ("ENVIRONMENT=development", "", "ENVIRONMENT=development is in .env and DATABASE_URL is "),
    ],
)
def test_production_that_is_assumed_names_the_setting_that_decided_it(
    tmp_path: Path, in_file: str, declared: str, why: str
) -> None:
    """The project's own code may provide the URL; ENVIRONMENT may be for another one."""
    (tmp_path / ".env").write_text(in_file)
    environ = {} if declared else {"DATABASE_URL": DOWN}

    config = load_config(tmp_path, Project("shop", database_url=declared), environ)

    assert why == _why(config)[: len(why)]


@ON_SQLITE
async def test_a_malformed_url_is_reported_and_not_shown(manage: Manage) -> None:
    """The command works even if others don't."""
    outcome = await manage(
        "system info", environ={"DATABASE_URL": "postgres://a:s3cr3t-part@db:x/x"}
    )

    assert 0 == outcome.exit_code, outcome.stderr
    assert "DATABASE_URL can't be used: " in outcome.stdout
    assert "s3cr3t-part" not in outcome.stdout + outcome.stderr
