"""What the tests of backups share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.services.backups import client_programs
from tests.support.database import dump
from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop

if TYPE_CHECKING:
    import pytest


RECORDS = ("oneoff_runs", "oneoff_audit", "oneoff_environment")


async def migrated(shop: Shop) -> Shop:
    """Write two revisions, and apply them."""
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("a2", "a1", INSERT_ONE, 'op.execute("DELETE FROM item")')
    done = await shop.manage("db migrate")
    assert 0 == done.exit_code, done.stderr
    return shop


async def backed_up(shop: Shop, file: Path) -> Path:
    """Back the database up into this file."""
    done = await shop.manage(f"db backup -o {file}")
    assert 0 == done.exit_code, done.stderr
    return file


def read_manifest(file: Path) -> dict[str, Any]:
    """Return the content of a manifest."""
    facts: dict[str, Any] = json.loads(Path(f"{file}.json").read_text())
    return facts


def names_in(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def mode_of(path: Path) -> int:
    """Return who may read and write a file."""
    return path.stat().st_mode & 0o777


def rows(shop: Shop) -> dict[str, object]:
    """Return the rows of all tables but the record."""
    return {name: found for name, found in dump(shop.url).items() if name not in RECORDS}


def target(shop: Shop, environment: str = "test") -> str:
    """Return the option that confirms a command on this database."""
    return f"--confirm={shop.database().url.name}@{environment}"


def only_programs(monkeypatch: pytest.MonkeyPatch, folder: Path, **sources: str) -> dict[str, str]:
    """Write shell scripts in place of the clients of PostgreSQL; return the variables to set."""
    folder.mkdir()
    for name, source in sources.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{source}")
        path.chmod(0o755)
    monkeypatch.setattr(client_programs, "DEBIAN", folder / "none")
    return {"PATH": f"{folder}:/bin:/usr/sbin"}
