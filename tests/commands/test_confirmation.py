"""Every command that needs confirmation asks for it, and only the right answer confirms it.

tests/acceptance/test_confirmation.py tries more answers on real terminals and pipes.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from oneoff import Confirm
from oneoff.runtime.application import load_application
from oneoff.testing import Manage
from tests.support.database import dump
from tests.support.people import ACCOUNTS, leave_jobs

APP = load_application("app.project:project", str(Path(__file__).parents[2]))
LINES = {
    "apikey revoke": "apikey revoke 1",
    "apikey rotate": "apikey rotate 1",
    "audit archive": "audit archive --before 2100-01-01 -o {tmp}/audit.jsonl",
    "batch cancel": "batch cancel 2",
    "cache clear": "cache clear --prefix shop:",
    "data cleanup": "data cleanup",
    "data import": f"data import service_accounts {ACCOUNTS} --on-conflict skip",
    "data transform": "data transform fill-locale",
    "db reset": "db reset",
    "db restore": "db restore {tmp}/shop.dump",
    "db rollback": "db rollback",
    "db seed": "db seed",
    "db stamp": "db stamp base --force",
    "jobs abort": "jobs abort waiting",
    "jobs purge": "jobs purge",
    "jobs retry": "jobs retry failed",
    "service-account activate": "service-account activate old",
    "service-account deactivate": "service-account deactivate ci",
    "session revoke": "session revoke 1",
    "system environment": "system environment set test",
    "system maintenance off": "system maintenance off",
    "system maintenance on": "system maintenance on",
    "user activate": "user activate grace",
    "user deactivate": "user deactivate ada",
    "user promote": "user promote ada moderator",
    "user reset-password": "user reset-password ada --generate-password",
}
QUESTIONS = {Confirm.PROMPT: "Continue? [y/N] ", Confirm.TYPE_NAME: "Type shop@test to continue: "}
RIGHT = {Confirm.PROMPT: "y", Confirm.TYPE_NAME: "shop@test"}


def levels() -> dict[str, Confirm]:
    """Return the commands that need confirmation, by full name, with the kind of confirmation."""
    entries = APP.registry.entries()
    classes = {entry.name: APP.registry.load(entry) for entry in entries if not entry.alias_of}
    return {name: c.confirm for name, c in classes.items() if c.confirm is not Confirm.NEVER}


@pytest.fixture
def manage_environ(peopled: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """Copy the database for this test, and store two jobs in Redis."""
    shutil.copyfile(peopled, tmp_path / "shop.sqlite3")
    leave_jobs(redis_url)
    url = f"sqlite:///{tmp_path}/shop.sqlite3"
    return {"DATABASE_URL": url, "REDIS_URL": redis_url, "ENVIRONMENT": "test"}


def state(manage: Manage) -> dict[str, object]:
    """Return all rows that a command could change; a run has a record, whatever comes of it."""
    found = dump(manage.environ["DATABASE_URL"])
    return {
        name: rows for name, rows in found.items() if name not in {"oneoff_audit", "oneoff_runs"}
    }


async def line_of(manage: Manage, name: str, folder: Path) -> str:
    """Return the line of a command, and make the file that it needs."""
    if name == "db restore":
        await manage(f"db backup -o {folder}/shop.dump")
    return LINES[name].replace("{tmp}", str(folder))


def test_every_command_that_needs_confirmation_is_tested() -> None:
    """Add a line to LINES for each new one."""
    assert set(LINES) == set(levels())


@pytest.mark.parametrize("name", LINES)
async def test_without_a_terminal_the_refusal_has_the_line_that_confirms(
    manage: Manage, name: str, tmp_path: Path
) -> None:
    """It is refused with 77 and changes nothing; the suggested line works."""
    line = await line_of(manage, name, tmp_path)
    before = state(manage)

    refused = await manage(line, stdin="y\nyes\nshop@test\n")
    after = state(manage)
    passing = re.findall(r"try:  python manage.py (.*--confirm.*)", refused.stderr)
    done = await manage(passing[0])

    assert (77, before) == (refused.exit_code, after)
    assert 0 == done.exit_code, done.stderr


@pytest.mark.parametrize("name", LINES)
async def test_on_a_terminal_only_the_right_answer_confirms(
    manage: Manage, name: str, tmp_path: Path
) -> None:
    """A similar answer changes nothing."""
    line = await line_of(manage, name, tmp_path)
    before, level = state(manage), levels()[name]

    refused = await manage(line, answers=[f"{RIGHT[level]}x"])
    after = state(manage)
    done = await manage(line, answers=[RIGHT[level]])

    assert (77, before) == (refused.exit_code, after)
    assert QUESTIONS[level] in refused.stderr
    assert "environment: test" in refused.stderr
    assert "preview:" in refused.stderr
    assert 0 == done.exit_code, done.stderr
