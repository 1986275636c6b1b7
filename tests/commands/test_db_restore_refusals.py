"""`db restore` of backups that are damaged, foreign or too new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.backups import backed_up, migrated, read_manifest, rows, target
from tests.support.shop import Shop

Change = Callable[[Path, dict[str, Any]], object]


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with two revisions, both applied."""
    return await migrated(Shop(tmp_path / "shop", database_url))


def truncate(file: Path, manifest: dict[str, Any]) -> None:
    """Cut the end off."""
    file.write_bytes(file.read_bytes()[:-100])


def damage(file: Path, manifest: dict[str, Any]) -> None:
    """Change one byte."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lose_manifest(file: Path, manifest: dict[str, Any]) -> None:
    """Leave an empty object."""
    manifest.clear()


def put(**facts: object) -> Change:
    """Return a function that changes facts of the manifest."""
    return lambda _file, manifest: manifest.update(facts)


WRONG: dict[str, tuple[Change, int, str]] = {
    "truncated": (truncate, 65, "bad-backup"),
    "damaged": (damage, 65, "bad-backup"),
    "without facts": (lose_manifest, 65, "bad-backup"),
    "of another kind": (put(kind="mysql"), 65, "bad-backup"),
    "of another project": (put(project="other"), 77, "foreign-backup"),
    "of another database": (put(identity="1/2", run="another"), 77, "foreign-backup"),
    "with newer framework tables": (put(schema="9999"), 65, "newer-backup"),
    "with a newer manifest": (put(format=2), 65, "newer-backup"),
    "of a newer server": (put(server=999_000_000), 65, "newer-backup"),
    "at an unknown revision": (put(revisions=["a2", "b9"]), 65, "newer-backup"),
}


def copy_backup(file: Path, path: Path, change: Change) -> Path:
    """Copy a backup, and change the copy or its manifest."""
    shutil.copy(file, path)
    manifest = read_manifest(file)
    change(path, manifest)
    Path(f"{path}.json").write_text(json.dumps(manifest))
    return path


async def test_a_wrong_backup_is_refused_before_anything_is_changed(
    shop: Shop, tmp_path: Path
) -> None:
    """A dry run refuses it too."""
    file = await backed_up(shop, tmp_path / "shop.dump")
    before, real, dry = rows(shop), {}, {}

    for number, (what, (change, *_)) in enumerate(WRONG.items()):
        wrong = copy_backup(file, tmp_path / f"{number}.dump", change)
        done = await shop.manage(f"db restore {wrong} --json {target(shop)}")
        real[what] = (done.exit_code, done.json["error"]["code"])
        dry[what] = (await shop.manage(f"db restore {wrong} --dry-run")).exit_code

    assert {what: expected for what, (_, *expected) in WRONG.items()} == {
        what: list(found) for what, found in real.items()
    }
    assert {what: exit_code for what, (_, exit_code, _) in WRONG.items()} == dry
    assert before == rows(shop)


async def test_a_file_without_a_manifest_is_refused_before_the_confirmation(
    shop: Shop, tmp_path: Path
) -> None:
    """The operator is not asked."""
    (tmp_path / "shop.dump").write_text("no dump")

    refused = await shop.manage(f"db restore {tmp_path}/shop.dump", answers=[])

    assert 65 == refused.exit_code
    assert "Type " not in refused.stderr
