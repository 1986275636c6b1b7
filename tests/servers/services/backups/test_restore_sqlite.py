"""Restore a SQLite file while other processes write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from oneoff.core.errors import TemporaryError
from oneoff.services.backups import restore_sqlite
from oneoff.services.backups.sqlite_file import LockedFile
from oneoff.utils.concurrency import uninterrupted
from tests.support.backups import backed_up, migrated, target
from tests.support.database import query
from tests.support.shop import Shop

MODES = pytest.mark.parametrize("mode", ["delete", "wal"])
USED = "INSERT INTO oneoff_approval_uses VALUES ('a', 'a', 'r', '2026-01-01 00:00:00')"


def write(path: str, statement: str) -> bool:
    """Execute a statement in another connection; return whether it was committed."""
    with closing(sqlite3.connect(path, timeout=0)) as other:
        with suppress(sqlite3.OperationalError), other:
            other.execute(statement)
            return True
        return False


@pytest.fixture
def before_swap(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Return a function that lets another one be called just before the content is replaced."""

    def let(hook: Callable[[], None]) -> None:
        async def first(work: Coroutine[Any, Any, None]) -> None:
            hook()
            await uninterrupted(work)

        monkeypatch.setattr(restore_sqlite, "uninterrupted", first)

    return let


@MODES
async def test_whatever_was_committed_is_in_the_file_that_is_kept(
    sqlite_shop: Shop,
    tmp_path: Path,
    before_swap: Callable[[Callable[[], None]], None],
    mode: str,
) -> None:
    """A write between the copy of the old content and the swap would be lost."""
    shop = await migrated(sqlite_shop)
    await shop.query(f"PRAGMA journal_mode={mode}")
    file = await backed_up(shop, tmp_path / "backup.sqlite3")
    path = shop.database().url.database
    written: list[str] = []
    statements = ("INSERT INTO item (name) VALUES ('late')", USED)
    before_swap(lambda: written.extend(name for name in statements if write(path, name)))

    done = await shop.manage(f"db restore {file} {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    kept = f"sqlite:///{done.stdout.split()[-1]}"
    late = len(query(kept, "SELECT 1 FROM item WHERE name = 'late'"))
    used = len(await shop.query("SELECT 1 FROM oneoff_approval_uses"))
    assert len(written) == late + used


async def test_a_write_in_the_moment_before_the_swap_is_not_lost(tmp_path: Path) -> None:
    """With WAL the lock is released for a moment. Then nothing is replaced."""
    path, new = str(tmp_path / "shop.sqlite3"), str(tmp_path / "new.sqlite3")
    for name in (path, new):
        with closing(sqlite3.connect(name)) as connection:
            connection.execute(f"CREATE TABLE {Path(name).stem} (name)")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    file = LockedFile(path)
    file.lock()
    file._connection.execute("ROLLBACK")
    assert write(path, "INSERT INTO shop VALUES ('late')")
    file._connection.execute("BEGIN")

    with pytest.raises(TemporaryError, match="the database is in use"):
        await file.replace_by(new)

    file.close()
    assert [("late",)] == query(f"sqlite:///{path}", "SELECT * FROM shop")


def test_a_file_that_somebody_reads_is_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for it has a bound."""
    monkeypatch.setattr("oneoff.services.backups.sqlite_file._BUSY_SECONDS", 0.01)
    path = str(tmp_path / "shop.sqlite3")
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("CREATE TABLE shop (name)")
        reader.execute("BEGIN").execute("SELECT * FROM shop").fetchall()
        file = LockedFile(path)

        with pytest.raises(TemporaryError, match="the database is in use"):
            file.lock()

        file.close()
