"""`db migrate` never drops the framework's own tables, which Alembic takes for removed models."""

from __future__ import annotations

import pytest

from tests.support.shop import CREATE_ITEM, Shop


@pytest.mark.parametrize(
    "drop",
    [
        'op.drop_table("oneoff_runs")',
        "op.drop_table('oneoff_audit')",
        'op.execute("DROP TABLE IF EXISTS public.oneoff_batches")',
        "op.execute('drop table \"oneoff_runs\"')",
    ],
)
async def test_a_revision_that_drops_a_table_of_oneoff_is_refused(shop: Shop, drop: str) -> None:
    """With the name of its file, in the preview too; nothing is applied."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    shop.write("b1", "a1", drop)

    done = [await shop.manage(line) for line in ("db migrate", "db migrate --dry-run")]

    for refused in done:
        assert 1 == refused.exit_code
        assert "drops-own-tables" in refused.stderr
        assert "migrations/versions/b1.py drops tables of oneoff" in refused.stderr
    assert "b1" in (await shop.manage("db migrate --plan")).stdout
    assert 0 == (await shop.manage("audit list")).exit_code
