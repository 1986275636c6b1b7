"""`db heads`: the newest revision of each branch."""

from __future__ import annotations

from tests.support.shop import CREATE_ITEM, Shop


async def test_each_branch_is_listed_with_its_labels(shop: Shop) -> None:
    """And whether its newest revision is applied."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("b1", "a1")
    shop.write("c1", "a1")
    await shop.manage("db migrate --revision b1")

    unlabelled = await shop.manage("db heads")
    for name, label in (("b1", "crm"), ("c1", "shop")):
        file = shop.versions / f"{name}.py"
        file.write_text(f"{file.read_text()}\nbranch_labels = {label!r}\n")
    labelled = await shop.manage("db heads --json")

    assert (
        "revision  message      branches  state\n"
        "b1        Revision b1  -         applied\n"
        "c1        Revision c1  -         pending\n"
    ) == unlabelled.stdout
    assert "warning: several heads: db create-migration --merge" in unlabelled.stderr
    assert [["crm"], ["shop"]] == [row["branches"] for row in labelled.json["data"]]
    assert [] == labelled.json["warnings"]
