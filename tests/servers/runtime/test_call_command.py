"""`call_command`: every word and every keyword argument is either used or refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.project import project
from app.settings import ROOT
from oneoff import UsageError, call_command
from oneoff.runtime.application import Application
from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser


@pytest.fixture
def application(sqlite_environ: dict[str, str]) -> Application:
    """Return the reference project on a migrated SQLite file."""
    return Application(project, str(ROOT), sqlite_environ)


@pytest.fixture
def sqlite_environ(manage: Manage) -> dict[str, str]:
    """Return the environment of the fixture `manage`."""
    return dict(manage.environ)


async def _role(application: Application, user: str = "ada") -> str:
    shown = await call_command("user show", application, user=user)
    assert isinstance(shown.data, dict)
    return str(shown.data["role"])


async def test_words_after_the_name_are_parsed_as_on_the_command_line(
    application: Application, make_user: MakeUser
) -> None:
    """Both arguments and options."""
    await make_user("ada")

    result = await call_command("user promote ada moderator --confirm", application)

    assert 1 == result.rows
    assert "moderator" == await _role(application)


async def test_a_dry_run_in_words_is_a_dry_run(
    application: Application, make_user: MakeUser
) -> None:
    """Even if the confirmation is given by name."""
    await make_user("ada")

    await call_command("user promote ada admin --dry-run", application, confirm=True)

    assert "user" == await _role(application)


@pytest.mark.parametrize(
    ("line", "given", "problem"),
    [
        ("user promote ada", {"user": "ben", "role": "admin"}, "user is given twice"),
        ("user promote ada admin --dry-run", {"dry_run": True}, "dry_run is given twice"),
        ("user promote ada admin", {"rolle": "admin"}, "Promote has no input 'rolle'"),
        ("user promote ada admin now", {}, "unexpected argument 'now'"),
        ("user promote ada admin --loud", {}, "user promote has no option --loud"),
        ("user promote", {"user": "ada", "role": "admin", "dry_run": "no"}, "dry_run must be"),
        ("user promote", {"user": "ada", "role": "admin", "timeout": "soon"}, "'soon' is not a"),
        ("user promote", {"user": "ada", "role": "admin", "reason": 7}, "reason must be a text"),
        ("user promote", {"user": "ada", "role": "admin", "lock_wait": 5}, "does not take a lock"),
        ("user show ada", {"dry_run": True}, "user show does not write, so it has no --dry-run"),
        ("user show ada --json", {}, "json has no effect"),
        ("user show ada", {"quiet": True}, "quiet has no effect"),
        ("user show --help", {}, "help has no effect"),
        ("user show 'ada", {}, "can't be split into words"),
    ],
)
async def test_a_wrong_call_is_refused(
    application: Application, line: str, given: dict[str, Any], problem: str
) -> None:
    """The error comes before the command starts."""
    with pytest.raises(UsageError) as caught:
        await call_command(line, application, **given)

    assert problem in str(caught.value)


async def test_options_that_are_off_are_ignored(
    application: Application, make_user: MakeUser
) -> None:
    """So a caller can pass on its own options without checking which are set."""
    await make_user("ada")

    await call_command("user show ada", application, dry_run=False, confirm=None, reason="")
    await call_command("user promote ada admin", application, confirm=True, timeout="60s")

    assert "admin" == await _role(application)
