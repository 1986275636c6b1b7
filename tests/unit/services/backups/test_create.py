"""The names of backups, and the line of the record that says where one is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oneoff.config.database_url import DatabaseURL
from oneoff.database.engine import Database
from oneoff.services.backups.create import Backup, default_path
from oneoff.services.backups.manifest import Manifest
from oneoff.services.backups.own_backups import read_summary

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (DatabaseURL("postgresql", database="shop"), "shop-staging-20260131T093000Z.dump"),
        (DatabaseURL("postgresql", database="a/b"), "a_b-staging-20260131T093000Z.dump"),
        (DatabaseURL("sqlite", database="/d/x.sqlite3"), "x-staging-20260131T093000Z.sqlite3"),
    ],
)
def test_the_default_name_is_the_name_of_a_file_in_this_folder(url: DatabaseURL, name: str) -> None:
    """Whatever the name of the database is."""
    assert name == default_path(Database(url, run_id="test"), "staging", NOW)


@pytest.mark.parametrize("path", ["/b/shop.dump", "/b/to /x (1).dump", "/b/ü.dump"])
def test_the_record_says_where_a_backup_is(path: str) -> None:
    """`rollback` reads what `db backup` has written."""
    manifest = Manifest(
        "sqlite", "shop", "shop", "", "", (), "", "", "", 0, "ab" * 32, 1234567, NOW, "run"
    )

    assert (path, 1234567, "ab" * 32) == read_summary(Backup(path, manifest, []).summary)
    assert None is read_summary("backed up something else")
