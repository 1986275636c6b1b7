"""Which environments are protected if the setting and the database name different ones."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import pytest
from sqlalchemy import text

from app.project import project
from app.settings import ROOT
from oneoff import Refused, call_command
from oneoff.runtime.application import Application
from oneoff.testing import Manage
from tests.support.fixture_types import Sessions


async def store(manage: Manage, environment: str) -> None:
    """Store an environment in the test's database."""
    about = (await manage("system environment --json")).json["data"]
    target = f"{about['database']}@{about['effective']}"
    done = await manage(f"system environment set {environment} --confirm={target}")
    assert 0 == done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("stored", "setting", "protect"),
    [
        ("live", "", ("live",)),
        ("production", "live", ("production",)),
        ("staging", "production", ("staging",)),
        ("development", "staging", ("development",)),
    ],
)
async def test_a_run_is_protected_if_one_of_the_two_environments_is(
    manage: Manage, stored: str, setting: str, protect: tuple[str, ...]
) -> None:
    """Even if the other one is as strict or stricter."""
    environ = {**manage.environ, "ENVIRONMENT": setting}
    await store(manage, stored)
    protecting = copy(project)
    protecting.protect = frozenset(protect)
    application = Application(protecting, str(ROOT), environ)
    shown = await call_command("system environment", application)
    assert isinstance(shown.data, dict)
    target = f"{shown.data['database']}@{shown.data['effective']}"

    with pytest.raises(Refused) as caught:
        await call_command("db reset", application, confirm=target)

    assert "--break-glass" in str(caught.value.try_)


async def test_a_stored_environment_as_strict_as_the_setting_is_kept(manage: Manage) -> None:
    """`migrate` does not replace it with another name for production."""
    await store(manage, "live")
    application = Application(project, str(ROOT), {**manage.environ, "ENVIRONMENT": ""})

    await call_command("migrate", application)
    shown = await call_command("system environment", application)

    assert isinstance(shown.data, dict)
    assert ("live", "live") == (shown.data["stored"], shown.data["effective"])


async def never_migrated(sessions: Sessions) -> None:
    """Remove the stored environment."""
    async with sessions() as session:
        await session.execute(text("DELETE FROM oneoff_environment"))
        await session.commit()


async def test_a_url_from_elsewhere_than_the_environment_is_protected(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """The error names the cause and the cure, and a warning too before `migrate` stores it."""
    await never_migrated(sessions)
    (tmp_path / ".env").write_text("ENVIRONMENT=development\n")
    environ = {name: text for name, text in manage.environ.items() if name != "ENVIRONMENT"}
    application = Application(project, str(tmp_path), environ)
    cause = (
        "ENVIRONMENT=development is in .env and DATABASE_URL is not, so its database counts as "
        "production: set ENVIRONMENT where DATABASE_URL is set"
    )

    with pytest.raises(Refused) as caught:
        await call_command("db reset", application, confirm=True)
    shown = await call_command("system environment", application)

    assert ("prohibited-here", cause) == (caught.value.code, caught.value.why[-len(cause) :])
    assert isinstance(shown.data, dict)
    assert cause in shown.data["because"]


async def test_migrate_says_that_it_stores_production_if_nothing_names_the_environment(
    manage: Manage, sessions: Sessions
) -> None:
    """Only once: then it is stored, and a refusal says how to change it."""
    await never_migrated(sessions)

    first = await manage("migrate --json", environ={"ENVIRONMENT": ""})
    again = await manage("migrate --json", environ={"ENVIRONMENT": ""})
    refused = await manage("db reset --json", environ={"ENVIRONMENT": "development"})
    asked = await manage("db reset --break-glass x", answers=[], environ={"ENVIRONMENT": ""})

    warning = (
        "ENVIRONMENT is not set, so the database of DATABASE_URL counts as production: set "
        "ENVIRONMENT; this run stores production in the database, and "
        "`python manage.py system environment set` changes it"
    )
    assert [warning] == first.json["warnings"]
    assert [] == again.json["warnings"]
    changes = "`python manage.py system environment set` changes the stored one"
    stored = "the environment stored in the database is production"
    assert f"{stored}, and ENVIRONMENT is development; {changes}" in refused.json["error"]["why"]
    assert f"environment: production\nbecause:     {stored}; {changes}\n" in asked.stderr


async def make_copy(sessions: Sessions) -> None:
    """Make the database look like a copy, as pg_upgrade and a move by a dump do."""
    async with sessions() as session:
        await session.execute(text("UPDATE oneoff_environment SET cluster_identity = '1@2:9/9'"))
        await session.commit()


async def test_a_copy_of_production_stays_protected_until_its_environment_is_stored(
    manage: Manage, sessions: Sessions
) -> None:
    """It may be production itself, on a new server."""
    await store(manage, "production")
    await make_copy(sessions)
    target = (await manage("system environment --json")).json["data"]["database"] + "@test"

    refused = await manage(f"db reset --confirm={target}")
    migrated = await manage("migrate")
    allowed = await manage(f"db reset --confirm={target}")

    assert 77 == refused.exit_code
    assert "error[prohibited-here]: db reset may not run in test\n" in refused.stderr
    assert (
        "the database is a copy of one in production, until `python manage.py migrate` stores "
        "its new environment" in refused.stderr
    )
    assert "is a copy" not in migrated.stderr
    assert (0, 0) == (migrated.exit_code, allowed.exit_code), allowed.stderr


async def test_a_copy_of_an_unprotected_database_is_not_protected(
    manage: Manage, sessions: Sessions
) -> None:
    """As that of a developer."""
    await store(manage, "development")
    await make_copy(sessions)
    target = (await manage("system environment --json")).json["data"]["database"] + "@test"

    done = await manage(f"db reset --confirm={target}")

    assert 0 == done.exit_code, done.stderr
