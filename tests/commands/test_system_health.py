"""`system health`: 0, 3 or 69, with a row for each service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oneoff.services.health import Check, Health, wait_until_well, worst

if TYPE_CHECKING:
    from oneoff.testing import Manage

UP, BEHIND, DOWN = (Check("database", health) for health in Health)


def make(path: Path) -> None:
    """Make an empty file, which is a database without tables."""
    path.touch()


def files(path: Path) -> list[Path]:
    """Return what is there of that name."""
    return list(path.parent.glob(f"{path.stem}*"))


@pytest.fixture
def new_file(tmp_path: Path) -> Path:
    """Return where a SQLite file could be."""
    return tmp_path / "new.sqlite3"


async def test_all_is_well(manage: Manage) -> None:
    """The database answers, with its latency, and is at head."""
    outcome = await manage("system health --json")

    database, migrations = outcome.json["data"]
    assert 0 == outcome.exit_code
    assert ("database", "up") == (database["service"], database["health"])
    assert 0 <= database["latency_ms"] < 10_000
    assert ("migrations", "up", "at head 0001") == (
        migrations["service"],
        migrations["health"],
        migrations["detail"],
    )


async def test_a_database_that_is_down_exits_69(manage: Manage) -> None:
    """Named without its password, and in the data too."""
    url = "postgres://ada:p%40ss-word@127.0.0.1:1/shop"

    outcome = await manage("system health", environ={"DATABASE_URL": url})

    assert 69 == outcome.exit_code
    assert "error[unavailable]: database is down: PostgreSQL at 127.0.0.1:1 " in outcome.stderr
    assert "database  down" in outcome.stdout
    assert "p%40ss-word" not in outcome.stdout + outcome.stderr


async def test_pending_migrations_exit_3(manage: Manage, new_file: Path) -> None:
    """The database answers, but the code is ahead of it."""
    make(new_file)

    outcome = await manage("system health", environ={"DATABASE_URL": f"sqlite:///{new_file}"})

    assert 3 == outcome.exit_code
    assert "migrations is behind: 1 pending: 0001\n" in outcome.stderr
    assert "  try:  python manage.py migrate\n" in outcome.stderr


async def test_looking_makes_no_file(manage: Manage, new_file: Path) -> None:
    """A SQLite file that is not there yet stays away."""
    outcome = await manage("system health", environ={"DATABASE_URL": f"sqlite:///{new_file}"})

    assert 3 == outcome.exit_code
    assert [] == files(new_file)


async def test_a_probe_leaves_no_row(manage: Manage) -> None:
    """It may run every few seconds for years."""
    await manage("system health")

    assert [] == (await manage("audit list --command 'system health'")).result.data


async def test_a_database_ahead_of_the_code_is_well(manage: Manage, tmp_path: Path) -> None:
    """In a rolling release old processes go on serving."""
    await manage(
        'shell --write --confirm -c "await session.execute(text('
        "'UPDATE alembic_version SET version_num = \\'9999\\''))\""
    )

    outcome = await manage("system health")

    assert 0 == outcome.exit_code, outcome.stderr
    assert "the database is at revision 9999" in outcome.stdout


@pytest.mark.parametrize(
    ("answers", "seconds", "asked"),
    [([UP], 0, 1), ([DOWN, UP], 0, 1), ([DOWN, BEHIND, UP], 60, 3), ([DOWN] * 5, 1.0, 3)],
)
async def test_it_asks_again_until_all_is_well_or_the_time_is_over(
    answers: list[Check], seconds: float, asked: int
) -> None:
    """Twice a second."""
    now, count = 0.0, 0

    async def ask() -> list[Check]:
        nonlocal count
        count += 1
        return [answers[count - 1]]

    async def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    last = await wait_until_well(ask, seconds, clock=lambda: now, sleep=sleep)

    assert (asked, [answers[asked - 1]]) == (count, last)


def test_the_worst_service_counts() -> None:
    """No service at all is well."""
    assert [Health.UP, Health.BEHIND, Health.DOWN] == [
        worst([]),
        worst([UP, BEHIND]),
        worst([DOWN, BEHIND]),
    ]
