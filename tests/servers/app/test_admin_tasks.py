"""The checks and verifications of the reference project's admin tasks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from app import admin_tasks
from oneoff import CheckFailed, Result
from tests.support.admin_tasks import LIVE, make_backup
from tests.support.tally_project import execute

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions

UNDO = "db rollback --steps 1 --break-glass 'the release is undone' --confirm={}@production"


async def test_a_migration_and_its_rollback_are_verified(manage: Manage, tmp_path: Path) -> None:
    """ADM-001 and ADM-001-revert, in production."""
    url = manage.environ["DATABASE_URL"]
    name = Path(url).stem if url.startswith("sqlite") else url.rpartition("/")[2]
    await make_backup(manage, tmp_path)

    undone = await manage(UNDO.format(name), environ=LIVE)
    done = await manage("migrate", environ=LIVE)
    listed = await manage("task list --category migration --json", environ=LIVE)

    assert [0, 0] == [run.exit_code for run in (undone, done)], undone.stderr
    assert ["executed", "reverted"] == [row["state"] for row in listed.json["data"]]


async def test_a_backup_has_the_size_that_its_manifest_says(manage: Manage, tmp_path: Path) -> None:
    """ADM-011; one that was cut is found at once."""
    cut = tmp_path / "cut.dump"
    cut.write_bytes(b"cut")
    whole = await manage(f"db backup -o {tmp_path}/whole.dump", environ=LIVE)

    assert 0 == whole.exit_code, whole.stderr
    with pytest.raises(CheckFailed, match=r"cut\.dump has 3 bytes instead of 4,000"):
        await admin_tasks.backup_has_its_size(
            Result.changed("cut", data={"path": str(cut), "size": 4_000})
        )


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_migration_does_not_wait_for_an_old_transaction(
    manage: Manage, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has locked a table; others are in nobody's way."""
    monkeypatch.setattr(admin_tasks, "OLD", timedelta())
    async with sessions() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(7)"))
        passed = await manage("migrate", environ=LIVE)
        await session.execute(text("SELECT * FROM users"))
        refused = await manage("migrate", environ=LIVE)

    assert (0, 77) == (passed.exit_code, refused.exit_code), passed.stderr
    assert "no-old-transaction: 1 transaction open for more than 0s: process " in refused.stderr


async def test_a_locale_that_is_missing_is_found(manage: Manage, sessions: Sessions) -> None:
    """By the verification of ADM-002; that of its revert finds one that is left."""
    await manage("user create ada ada@example.com --generate-password")
    url = manage.environ["DATABASE_URL"]
    found = []
    for values in ("accept_language = 'de'", "locale = 'de'"):
        execute(url, f"UPDATE users SET {values};")
        async with sessions() as session:
            for verify in (admin_tasks.every_locale_filled, admin_tasks.no_locale_left):
                try:
                    await verify(session)
                except CheckFailed as failed:
                    found.append(failed.message)

    assert ["1 user without a locale", "1 user with a locale"] == found
