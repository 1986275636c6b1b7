"""`db create-migration`: write a revision that makes the database match the models."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from tests.support.shop import CREATE_ITEM, Shop


def files(shop: Shop) -> list[Path]:
    """Return the revision files, and all other files in their folder."""
    return sorted(path for path in shop.versions.iterdir() if path.name != "__pycache__")


async def test_the_written_revision_makes_the_database_match_the_models(shop: Shop) -> None:
    """After it is applied, no difference is found."""
    written = await shop.manage(["db", "create-migration", "-m", "add items; 100% new"])
    migrated = await shop.manage("db migrate")
    checked = await shop.manage("db create-migration --check")

    assert [0, 0, 0] == [one.exit_code for one in (written, migrated, checked)]
    assert checked.stdout.startswith("nothing to do: the models and the database agree in tables, ")
    assert "not compared: " in checked.stdout
    assert {"item"} == await shop.tables()


async def test_the_file_describes_its_operations(shop: Shop) -> None:
    """The docstring of the file lists them."""
    await shop.manage(["db", "create-migration", "-m", "add items"])

    (path,) = files(shop)
    lines = path.read_text().splitlines()
    assert path.name.endswith("_add_items.py")
    assert [
        '"""add items.',
        "",
        "- add table item",
        "- add index ix_item_name on item",
    ] == lines[:4]


async def test_a_change_of_a_table_can_be_applied_and_undone(shop: Shop) -> None:
    """On SQLite too, where Alembic rebuilds the table."""
    shop.write("a1", None, 'op.create_table("item", sa.Column("id", sa.Integer, primary_key=True))')
    await shop.manage("db migrate")

    written = await shop.manage(["db", "create-migration", "-m", "add name"])
    migrated = await shop.manage("db migrate")
    undone = await shop.manage(f"db rollback --confirm={shop.database().url.name}@test")

    assert ["add column item.name", "add index ix_item_name on item"] == [
        row["operation"] for row in written.result.data
    ]
    assert [0, 0, 0] == [one.exit_code for one in (written, migrated, undone)], undone.stderr


async def test_drift_is_found(shop: Shop) -> None:
    """The exit code is 3, the data has the operations, and nothing is written."""
    found = await shop.manage("db create-migration --check --json")

    assert (3, "schema-drift") == (found.exit_code, found.json["error"]["code"])
    assert ["add table item", "add index ix_item_name on item"] == [
        row["operation"] for row in found.json["data"]
    ]
    assert [] == files(shop)


async def test_a_dry_run_lists_the_operations(shop: Shop) -> None:
    """It writes nothing."""
    shown = await shop.manage("db create-migration -m x --dry-run")

    assert (
        "DRY RUN: nothing was changed\n"
        "operation\n"
        "add table item\n"
        "add index ix_item_name on item\n"
        "would write a revision with 2 operations\n"
    ) == shown.stdout
    assert [] == files(shop)


async def test_an_empty_revision_is_written_only_when_asked_for(shop: Shop) -> None:
    """Without --empty there is nothing to do."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")

    refused = await shop.manage("db create-migration -m backfill")
    written = await shop.manage("db create-migration -m backfill --empty")
    migrated = await shop.manage("db migrate")

    assert refused.stdout.startswith("nothing to do: the models and the database agree")
    assert (0, 0) == (written.exit_code, migrated.exit_code)
    assert 2 == len(files(shop))


@pytest.mark.parametrize("check", [False, True])
async def test_a_database_behind_the_revisions_is_not_compared(shop: Shop, *, check: bool) -> None:
    """The pending revisions would appear as differences."""
    shop.write("a1", None, CREATE_ITEM)

    refused = await shop.manage("db create-migration " + ("--check" if check else "-m x"))

    assert (3 if check else 1) == refused.exit_code
    assert "not applied to this database: 1\n" in refused.stderr


async def test_a_message_is_needed(shop: Shop) -> None:
    """And only one of --empty, --merge and --check can be given."""
    refused = await shop.manage("db create-migration --empty --merge")

    assert 2 == refused.exit_code
    assert (
        "error[usage]: --empty, --merge and --check can't be used together\n"
        "error[usage]: -m is missing: what the revision is for\n"
    ) in refused.stderr


async def test_nothing_is_left_when_writing_fails(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-written revision would break every later command."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)

    failed = await shop.manage("db create-migration -m x")

    assert 1 == failed.exit_code
    assert [] == files(shop)


async def test_the_framework_and_its_tables_are_no_drift(shop: Shop) -> None:
    """They have a separate history."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")

    assert 0 == (await shop.manage("db create-migration --check")).exit_code


async def test_the_comparison_reads_each_table_once(shop: Shop) -> None:
    """Reading tables is nearly all of its work."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    read: list[str] = []

    def note(_c: object, _cursor: object, sql: str, *_: object) -> None:
        if "pg_catalog.pg_attribute.attname AS name" in sql or 'table_xinfo("item")' in sql:
            read.append(sql)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await shop.manage("db create-migration --check")
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert 1 == len(read), read
