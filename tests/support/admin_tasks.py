"""Helpers for tests of admin tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.task import Task
from tests.support.database import query
from tests.support.tally_project import execute

if TYPE_CHECKING:
    from pathlib import Path

    from oneoff.testing import Manage

LIVE = {"ENVIRONMENT": "production"}
STATED = (
    '--waive staging-run-successful="staging run 20260131T120000-0123456789"'
    ' --waive on-call-notified="grace, #operations"'
)
"""The waivers with which ADM-002 runs, if a backup was made."""

COMPLETE = Task(
    "ADM-900",
    category="data-fix",
    owner="Accounts",
    author="Ada",
    created="2026-01-31",
    invoked_by="a developer",
    approval="a second developer",
    data={"users": "all"},
    services=("PostgreSQL",),
    image="the image of the release",
    compute="0.5 CPU",
    expected_duration="a minute",
    irreversible="the old values are not kept",
    checks=("backup-completed",),
    afterwards="look at ten users",
)
"""A task in which only `verify` is missing."""


async def make_backup(manage: Manage, folder: Path) -> None:
    """Make a backup of the database, which is not taken for a copy of the template any more."""
    for line in ("migrate", f"db backup -o {folder}/before.dump"):
        done = await manage(line)
        assert 0 == done.exit_code, done.stderr


def set_languages(url: str) -> None:
    """Store the Accept-Language of all users."""
    execute(url, "UPDATE users SET accept_language = 'de-DE,de;q=0.9';")


def locales(url: str) -> list[str | None]:
    """Return the locale of each user."""
    return [row[0] for row in query(url, "SELECT locale FROM users ORDER BY id")]
