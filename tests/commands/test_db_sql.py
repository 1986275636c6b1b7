"""`db sql`: the SQL of one revision."""

from __future__ import annotations

from tests.support.shop import CREATE_ITEM, DROP_ITEM, Shop


async def test_the_sql_of_a_revision_is_shown(shop: Shop) -> None:
    """Also of one that is applied, and of none of the others."""
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("b1", "a1", 'op.execute("SELECT 2")')
    await shop.manage("db migrate")

    up = await shop.manage("db sql a")
    down = await shop.manage("db sql a1 --down")

    assert [0, 0] == [up.exit_code, down.exit_code], up.stderr
    assert "CREATE TABLE item" in up.stdout
    assert "SELECT 2" not in up.stdout
    assert "DROP TABLE item" in down.stdout
    assert {"item"} == await shop.tables()


async def test_what_is_not_one_revision_is_refused(shop: Shop) -> None:
    """A range is the plan of `migrate --dry-run`."""
    shop.write("a1", None, CREATE_ITEM)

    for name in ("heads", "base", "+1", "zz"):
        refused = await shop.manage(f"db sql {name}")
        assert (1, True) == (refused.exit_code, "unknown-revision" in refused.stderr), name
