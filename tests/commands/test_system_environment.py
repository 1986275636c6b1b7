"""`system environment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.database.locks.acquire import make_lock
from oneoff.testing import Manage


async def shown(manage: Manage, **environ: str) -> dict[str, Any]:
    """Return what the command shows."""
    finished = await manage("system environment --json", environ=environ)
    assert 0 == finished.exit_code, finished.stderr
    data: dict[str, Any] = finished.json["data"]
    return data


async def database_of(manage: Manage) -> str:
    """Return the name that the operator types."""
    name: str = (await shown(manage))["database"]
    return name


async def test_a_copy_of_a_database_is_shown_as_one(manage: Manage) -> None:
    """The database of each test is a copy of the one that was migrated."""
    data = await shown(manage)

    assert ("test", "test", "test", True) == (
        data["stored"],
        data["configured"],
        data["effective"],
        data["copy"],
    )
    assert "this is a copy of a database in test, so the configured one applies" == data["because"]


async def test_storing_twice_writes_once(manage: Manage) -> None:
    """The second run has nothing to do. The database is no longer shown as a copy."""
    line = f"system environment set test --confirm={await database_of(manage)}@test"

    first = await manage(line)
    again = await manage(line)

    assert (0, 1) == (first.exit_code, first.rows), first.stderr
    assert "this database now belongs to test (was test)\n" == first.stdout
    assert (0, 0, "this database already belongs to test\n") == (
        again.exit_code,
        again.rows,
        again.stdout,
    )
    data = await shown(manage)
    assert (False, "stored and configured are the same") == (data["copy"], data["because"])
    assert data["identity"] == data["stored_identity"]


async def test_the_stricter_one_counts(manage: Manage) -> None:
    """Whether it is stored or configured."""
    await manage(f"system environment set staging --confirm={await database_of(manage)}@test")

    stored, configured = await shown(manage), await shown(manage, ENVIRONMENT="production")

    assert ("staging", "staging is the stricter of the two") == (
        stored["effective"],
        stored["because"],
    )
    assert ("production", "production is the stricter of the two") == (
        configured["effective"],
        configured["because"],
    )


async def test_production_is_lowered_only_with_break_glass(manage: Manage) -> None:
    """The confirmation must name the database and production, too."""
    name = await database_of(manage)
    raised = await manage(f"system environment set production --confirm={name}@test")
    line = f"system environment set development --confirm={name}@production"

    refused = await manage(line)
    wrong = await manage(
        f'system environment set development --confirm={name}@test --break-glass "restored"'
    )
    unchanged = (await shown(manage))["stored"]
    lowered = await manage(f'{line} --break-glass "it was a mistake"')

    assert 0 == raised.exit_code, raised.stderr
    assert (77, 77, "production") == (refused.exit_code, wrong.exit_code, unchanged)
    assert "error[prohibited-here]" in refused.stderr
    assert "error[confirmation-mismatch]" in wrong.stderr
    assert "this database now belongs to development (was production)\n" == lowered.stdout
    assert "development" == (await shown(manage))["effective"]


async def test_a_stricter_setting_is_a_warning(manage: Manage) -> None:
    """Lowering the stored environment does not change ENVIRONMENT."""
    line = f"system environment set staging --confirm={await database_of(manage)}@production"

    done = await manage(f"{line} --break-glass x", environ={"ENVIRONMENT": "production"})

    assert 0 == done.exit_code, done.stderr
    assert "ENVIRONMENT is stricter: runs stay in production" in done.stderr


async def test_an_unknown_name_counts_as_production(manage: Manage) -> None:
    """It can be stored, with a warning."""
    name = await database_of(manage)

    done = await manage(f"system environment set qa-7 --confirm={name}@test")

    assert "the environment 'qa-7' is unknown, so it counts as production" in done.stderr
    assert "qa-7" == (await shown(manage))["effective"]


async def test_a_dry_run_changes_nothing(manage: Manage) -> None:
    """It needs no confirmation, and shows the result."""
    preview = await manage("system environment set production --dry-run")

    assert "DRY RUN: nothing was changed\n" in preview.stdout
    assert "this database would belong to production (was test)\n" in preview.stdout
    assert "test" == (await shown(manage))["stored"]


@pytest.mark.parametrize(
    "line",
    ["set", "set --dry-run", "production", "set Production --dry-run", 'set "a b" --dry-run'],
)
async def test_invalid_arguments_are_a_usage_error(manage: Manage, line: str) -> None:
    """They are refused before the confirmation."""
    assert 2 == (await manage(f"system environment {line}")).exit_code
    assert "test" == (await shown(manage))["stored"]


async def test_storing_waits_for_a_migration(
    manage: Manage, manage_environ: dict[str, str]
) -> None:
    """`migrate` stores the environment as well, so one of the two would fail or be lost."""
    name = await database_of(manage)
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="other")
    lock = make_lock(database, "migrations")
    assert await lock.try_acquire()

    line = f"system environment set staging --confirm={name}@test --lock-wait 0"
    busy = await manage(line)
    await lock.release()
    await database.dispose()
    done = await manage(line)

    assert (75, 0) == (busy.exit_code, done.exit_code), done.stderr
    assert "error[lock-busy]" in busy.stderr
