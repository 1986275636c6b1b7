"""Helpers for tests of admin tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oneoff.core.task import Task
from tests.support.database import query
from tests.support.tally_project import execute

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


def record_backup(url: str, *, age: timedelta = timedelta()) -> None:
    """Insert the record of a backup that ended some time ago."""
    ended = f"{datetime.now(UTC) - age:%Y-%m-%d %H:%M:%S.%f}"
    ended += "" if url.startswith("sqlite") else "+00"
    execute(
        url,
        "INSERT INTO oneoff_runs (id, command, argv, access, dry_run, status, exit_code, operator,"
        " operator_source, environment, host, pid, started_at, finished_at) VALUES"
        f" ('20260131T120000-{age.seconds:010}', 'db backup', '[]', 'read', false, 'succeeded', 0,"
        f" 'ada', 'setting', 'production', 'far', 1, '{ended}', '{ended}');",
    )


def set_languages(url: str) -> None:
    """Store the Accept-Language of all users."""
    execute(url, "UPDATE users SET accept_language = 'de-DE,de;q=0.9';")


def locales(url: str) -> list[str | None]:
    """Return the locale of each user."""
    return [row[0] for row in query(url, "SELECT locale FROM users ORDER BY id")]
