"""`audit list`: which runs it shows, and in what order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert

from oneoff.database.tables import runs

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions

AGES = {"new": timedelta(minutes=1), "day": timedelta(hours=23), "old": timedelta(days=30)}


@pytest.fixture
async def record(sessions: Sessions) -> None:
    """Leave exactly three runs in the database."""
    common = {
        "argv": "[]",
        "access": "write",
        "operator_source": "setting",
        "environment": "test",
        "host": "here",
        "pid": 1,
    }
    facts = {
        "new": {"command": "user promote", "status": "succeeded", "operator": "ada", "rows": 1},
        "day": {"command": "user create", "status": "failed", "operator": "ada", "exit_code": 1},
        "old": {"command": "username", "status": "refused", "operator": "bob", "dry_run": True},
    }
    blank = {"rows": 0, "exit_code": 0, "dry_run": False}
    async with sessions() as session:
        await session.execute(delete(runs))
        now = datetime.now(UTC)
        for name, fact in facts.items():
            row = {"id": name, "started_at": now - AGES[name], **common, **blank, **fact}
            await session.execute(insert(runs).values(row))
        await session.commit()


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ["new", "day", "old"]),
        ("--limit 1", ["new"]),
        ("--command user", ["new", "day"]),
        ("--command 'user create'", ["day"]),
        ("--operator bob", ["old"]),
        ("--status failed", ["day"]),
        ("--since 24h", ["new", "day"]),
        ("--since 999999999d", ["new", "day", "old"]),
        ("--since 24h --status succeeded", ["new"]),
        ("--operator nobody", []),
    ],
)
async def test_filters_and_order(manage: Manage, flags: str, expected: list[str]) -> None:
    """Newest first. Filters are combined. The name of a group matches its commands."""
    outcome = await manage(f"audit list {flags}")

    assert 0 == outcome.exit_code, outcome.stderr
    assert expected == [row["run_id"] for row in outcome.result.data]


@pytest.mark.usefixtures("record")
async def test_the_message_says_how_many_there_are(manage: Manage) -> None:
    """Runs beyond --limit are counted too."""
    outcome = await manage("audit list --limit 2")

    assert "2 of 3 runs\n" == outcome.stdout.splitlines(keepends=True)[-1]


async def test_a_line_fits_a_screen(manage: Manage, sessions: Sessions) -> None:
    """When, who, what, how it ended, and an id that `audit show` takes."""
    facts: dict[str, dict[str, Any]] = {
        "20260131T120000-00000000aa": {"status": "succeeded", "rows": 2},
        "20260131T120000-00000000bb": {"status": "succeeded", "dry_run": True, "rows": 3},
        "20260131T120000-00000000cc": {"status": "failed", "exit_code": 75},
        "20260131T120000-00000000dd": {"status": "failed", "exit_code": 1, "dry_run": True},
        "20260131T120000-00000000ee": {"status": "unchanged"},
    }
    common = {
        "argv": "[]",
        "access": "write",
        "operator": "ada",
        "operator_source": "setting",
        "environment": "test",
        "host": "here",
        "pid": 1,
        "command": "user promote",
        "started_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
    }
    blank = {"rows": 0, "exit_code": 0, "dry_run": False}
    async with sessions() as session:
        await session.execute(delete(runs))
        for run_id, fact in facts.items():
            await session.execute(insert(runs).values({"id": run_id, **common, **blank, **fact}))
        await session.commit()

    listed = await manage("audit list")
    shown = await manage("audit show 00000000cc")

    assert (
        "time (UTC)           who  command       result             rows  id\n"
        "2026-01-31 12:00:00  ada  user promote  unchanged             0  00000000ee\n"
        "2026-01-31 12:00:00  ada  user promote  dry run, failed 1     0  00000000dd\n"
        "2026-01-31 12:00:00  ada  user promote  failed 75             0  00000000cc\n"
        "2026-01-31 12:00:00  ada  user promote  dry run               3  00000000bb\n"
        "2026-01-31 12:00:00  ada  user promote  succeeded             2  00000000aa\n"
        "5 of 5 runs\n"
    ) == listed.stdout
    assert "20260131T120000-00000000cc" == shown.result.data["id"]


async def test_a_run_is_listed_with_its_result(manage: Manage) -> None:
    """One line has all facts that an operator looks for."""
    created = await manage("user create ada ada@example.com --generate-password --dry-run")

    (row, *_) = (await manage("audit list --json")).json["data"]

    assert created.outcome
    assert {
        "run_id": created.outcome.run_id,
        "command": "user create",
        "status": "succeeded",
        "exit_code": 0,
        "rows": 1,
        "operator": "tester",
        "dry_run": True,
        "environment": "test",
    }.items() <= row.items()
    assert {"started", "duration_ms"} <= row.keys()


@pytest.mark.parametrize("flags", ["--limit 0", "--since yesterday", "--status fine"])
async def test_bad_filters_are_usage_errors(manage: Manage, flags: str) -> None:
    """The exit code is 2."""
    assert 2 == (await manage(f"audit list {flags}")).exit_code
