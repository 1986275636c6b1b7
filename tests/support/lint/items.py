"""Give a project a table and a pending revision that `db lint` checks."""

from __future__ import annotations

from tests.support.shop import CREATE_ITEM, Shop

FILL = "INSERT INTO item (name) SELECT repeat('x', 90) || n FROM generate_series(1, 12000) AS n"
INDEX = 'op.create_index("ix_item_id_name", "item", ["id", "name"])'
DROP = 'op.drop_column("item", "name")'
FEW, MANY = FILL.replace("12000", "10"), FILL


async def with_items(shop: Shop, upgrade: str, fill: str = "") -> Shop:
    """Give the project a table, perhaps with rows, and a pending revision."""
    shop.write("a1", None, CREATE_ITEM)
    created = await shop.manage("db migrate --revision a1")
    assert 0 == created.exit_code, created.stderr
    if fill:
        await shop.query(fill)
        await shop.query("ANALYZE item")
    shop.write("a2", "a1", upgrade)
    return shop


def add(shop: Shop, line: str) -> None:
    """Add a line to the pending revision."""
    file = shop.versions / "a2.py"
    file.write_text(f"{file.read_text()}\n{line}\n")
