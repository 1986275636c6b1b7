"""`db stamp`: store a revision without running it, after a proof."""

from __future__ import annotations

import pytest

from tests.support.model_files import target
from tests.support.shop import CREATE_ITEM, DROP_ITEM, FAIL, INSERT_ONE, Shop


async def with_tables(shop: Shop) -> None:
    """Create the tables of the models, without a revision."""
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("b1", "a1")
    await shop.manage("db migrate --revision a1")
    await shop.manage(f"db stamp base --force --confirm={target(shop)}")


async def test_tables_that_agree_with_the_models_are_stamped(shop: Shop) -> None:
    """From then on `migrate` has nothing to do, and a later revision follows."""
    await with_tables(shop)

    stamped = await shop.manage(f"db stamp head --confirm={target(shop)}")
    migrated = await shop.manage("db migrate")

    assert [0, 0] == [stamped.exit_code, migrated.exit_code], stamped.stderr
    assert stamped.stdout.startswith("stamped b1, from no revision; the models and the database ")
    assert "not compared: rows, collations, triggers, " in stamped.stdout
    assert "nothing to do: the database is at b1 (head)\n" == migrated.stdout


async def test_a_difference_refuses_the_stamp(shop: Shop) -> None:
    """Later revisions would change the wrong tables. The error names what differs."""
    shop.write("a1", None, CREATE_ITEM)

    refused = await shop.manage(f"db stamp head --confirm={target(shop)}")

    assert 1 == refused.exit_code
    assert "stamp-not-proved" in refused.stderr
    assert "add table item" in refused.stderr
    assert "pending" in (await shop.manage("db status")).stdout


async def test_a_stamp_that_skips_pending_revisions_needs_force(shop: Shop) -> None:
    """The models show nothing of the rows and triggers that these would write."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    shop.write("b1", "a1", INSERT_ONE)

    refused = await shop.manage(f"db stamp head --confirm={target(shop)}")
    await shop.manage("db migrate")

    assert (1, True) == (refused.exit_code, "stamp-not-proved" in refused.stderr)
    assert "what the skipped ones do to rows, collations, triggers, " in refused.stderr
    assert "  try:  python manage.py migrate\n" in refused.stderr
    assert [("one",)] == await shop.query("SELECT name FROM item")


async def test_an_older_revision_needs_force(shop: Shop) -> None:
    """The models are those of the newest revision, so nothing proves an older one."""
    await with_tables(shop)

    refused = await shop.manage(f"db stamp a1 --confirm={target(shop)}")
    forced = await shop.manage(f"db stamp a1 --force --confirm={target(shop)}")

    assert [1, 0] == [refused.exit_code, forced.exit_code], forced.stderr
    assert "not proved: the models are those of the newest revision" in forced.stdout
    assert "applied 1 revision; the database is at b1" in (await shop.manage("db migrate")).stdout


@pytest.mark.parametrize(("line", "after"), [("a1", "a1"), ("base", "no revision")])
async def test_a_dry_run_stamps_nothing(shop: Shop, line: str, after: str) -> None:
    """It says what would be stored."""
    shop.write("a1", None, FAIL)
    shop.write("b1", "a1")
    await shop.manage(f"db stamp b1 --force --confirm={target(shop)}")

    planned = await shop.manage(f"db stamp {line} --force --dry-run")
    again = await shop.manage(f"db stamp b1 --confirm={target(shop)}")

    assert f"would stamp {after}, from b1; not proved: " in planned.stdout
    assert "nothing to do: the database is at b1\n" == again.stdout


async def test_an_unknown_revision_is_refused(shop: Shop) -> None:
    """So is what is not one revision."""
    shop.write("a1", None, CREATE_ITEM)

    for name in ("zz", "+1", "''"):
        refused = await shop.manage(f"db stamp {name} --force --confirm={target(shop)}")
        assert (1, True) == (refused.exit_code, "unknown-revision" in refused.stderr), name


async def test_a_stamp_keeps_the_revisions_of_other_branches(shop: Shop) -> None:
    """The message and the dry run name all revisions that are stored then."""
    shop.write("a1", None)
    shop.write("b1", "a1")
    shop.write("b2", "b1")
    shop.write("c1", "a1")
    for name in ("c1", "b1"):
        await shop.manage(f"db stamp {name} --force --confirm={target(shop)}")

    again = await shop.manage(f"db stamp b1 --force --confirm={target(shop)}")
    planned = await shop.manage("db stamp b2 --force --dry-run")
    stamped = await shop.manage(f"db stamp b2 --force --confirm={target(shop)}")

    assert "nothing to do: the database is at b1, c1\n" == again.stdout
    assert "\nwould stamp b2, c1, from b1, c1; " in planned.stdout
    assert stamped.stdout.startswith("stamped b2, c1, from b1, c1; ")
    assert ["b2", "c1"] == sorted(await shop.versions_applied())


async def test_an_undone_stamp_leaves_no_time_in_the_status(shop: Shop) -> None:
    """A pending revision was applied at no time."""
    await with_tables(shop)

    rows = (await shop.manage("db status --json")).json["data"]

    assert [("pending", None)] * 2 == [(row["state"], row["applied_at"]) for row in rows]
