"""In a protected environment `rollback`, `db reset` and `db restore` need a recent backup."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oneoff.testing import Finished
from tests.support.backups import backed_up, migrated, target
from tests.support.shop import Shop

FORCED = ("--break-glass", "the test")


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project in production with two revisions, both applied."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.manage.environ["ENVIRONMENT"] = "production"
    return await migrated(shop)


@pytest.fixture
async def sqlite_shop(tmp_path: Path, sqlite_url: str) -> Shop:
    """Return the same on SQLite."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    shop.manage.environ["ENVIRONMENT"] = "production"
    return await migrated(shop)


async def run(shop: Shop, *words: str) -> Finished:
    """Run a command in production as far as confirmation and policy are concerned."""
    return await shop.manage([*words, *FORCED, target(shop, "production")])


async def age_backups(shop: Shop, age: timedelta) -> None:
    """Let the runs so far have started earlier."""
    when = datetime.now(UTC) - age
    text = f"{when:%Y-%m-%d %H:%M:%S.%f}" + ("" if shop.url.startswith("sqlite") else "+00")
    await shop.query(f"UPDATE oneoff_runs SET started_at = '{text}'")
    await shop.query(f"UPDATE oneoff_environment SET stored_at = '{text}'")


@pytest.mark.parametrize("line", ["db rollback", "db reset", "db restore {file}"])
async def test_without_a_backup_it_is_refused(shop: Shop, tmp_path: Path, line: str) -> None:
    """Nothing is changed, the lines to run are shown, and a dry run says so."""
    file = await backed_up(shop, tmp_path / "shop.dump")
    await age_backups(shop, timedelta(hours=2))
    words = line.format(file=file).split()

    refused = await run(shop, *words)
    dry = await shop.manage([*words, "--dry-run"])

    assert 77 == refused.exit_code, refused.stderr
    assert "error[backup-required]" in refused.stderr
    assert "try:  python manage.py db backup\n" in refused.stderr
    assert 'production --no-backup "REASON"\n' in refused.stderr
    assert ["a2"] == await shop.versions_applied()
    assert (0, True) == (dry.exit_code, "a real run would be refused" in dry.stderr)


async def test_with_a_recent_backup_it_runs(shop: Shop, tmp_path: Path) -> None:
    """How recent is an option."""
    await backed_up(shop, tmp_path / "shop.dump")
    await age_backups(shop, timedelta(minutes=90))

    by_default = await run(shop, "db", "rollback")
    longer = await run(shop, "db", "rollback", "--backup-age", "2h")

    assert [77, 0] == [by_default.exit_code, longer.exit_code], longer.stderr


async def test_a_reason_replaces_the_backup(sqlite_shop: Shop) -> None:
    """It is recorded with the command line, and shown."""
    done = await run(sqlite_shop, "db", "rollback", "--no-backup", "snapshot 4711")

    assert 0 == done.exit_code, done.stderr
    assert "without a backup: snapshot 4711" in done.stderr
    ((argv,),) = await sqlite_shop.query(
        "SELECT argv FROM oneoff_runs WHERE command = 'db rollback'"
    )
    assert "snapshot 4711" in argv


async def test_an_empty_reason_replaces_nothing(sqlite_shop: Shop) -> None:
    """As with --break-glass."""
    assert 77 == (await run(sqlite_shop, "db", "rollback", "--no-backup", " ")).exit_code


async def test_a_backup_that_was_changed_or_removed_does_not_count(
    sqlite_shop: Shop, tmp_path: Path
) -> None:
    """The message says why."""
    file = await backed_up(sqlite_shop, tmp_path / "shop.sqlite3")
    content = file.read_bytes()

    file.write_bytes(content[:-1] + b"x")
    changed = await run(sqlite_shop, "db", "rollback")
    file.unlink()
    removed = await run(sqlite_shop, "db", "rollback")
    file.write_bytes(content)
    intact = await run(sqlite_shop, "db", "rollback")

    assert [77, 77, 0] == [changed.exit_code, removed.exit_code, intact.exit_code]
    assert "was changed since it was made" in changed.stderr
    assert "can't be read: No such file" in removed.stderr


async def test_a_backup_on_another_machine_counts_and_is_not_checked(
    sqlite_shop: Shop, tmp_path: Path
) -> None:
    """A warning names the machine."""
    file = await backed_up(sqlite_shop, tmp_path / "shop.sqlite3")
    file.unlink()
    await sqlite_shop.query("UPDATE oneoff_runs SET host = 'web-1'")

    done = await run(sqlite_shop, "db", "rollback")

    assert 0 == done.exit_code, done.stderr
    assert "is on web-1, so it was not checked" in done.stderr


async def test_a_backup_of_the_original_does_not_count_for_a_copy(
    sqlite_shop: Shop, tmp_path: Path
) -> None:
    """Neither before the copy has an environment of its own, nor after."""
    await backed_up(sqlite_shop, tmp_path / "shop.sqlite3")
    shutil.copy(tmp_path / "test.sqlite3", tmp_path / "copy.sqlite3")
    copy = Shop(tmp_path / "copy", f"sqlite:///{tmp_path}/copy.sqlite3")
    copy.manage.environ["ENVIRONMENT"] = "production"
    shutil.copytree(sqlite_shop.versions, copy.versions, dirs_exist_ok=True)

    as_copy = await run(copy, "db", "rollback")
    await copy.manage("migrate")
    on_its_own = await run(copy, "db", "rollback")

    assert [77, 77] == [as_copy.exit_code, on_its_own.exit_code], on_its_own.stderr


async def test_an_unprotected_environment_needs_no_backup(tmp_path: Path, sqlite_url: str) -> None:
    """As in development."""
    shop = await migrated(Shop(tmp_path / "shop", sqlite_url))

    done = await shop.manage(f"db rollback {target(shop)}")

    assert 0 == done.exit_code, done.stderr
