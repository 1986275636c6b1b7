"""`db migrate` calls the checks of a revision before it is applied."""

from __future__ import annotations

from tests.support.shop import CREATE_ITEM, INSERT_ONE, Shop

CHECKS = """
from oneoff import CheckFailed


def checks(connection):
    if found := connection.scalar(sa.text("SELECT count(*) FROM item WHERE name = ''")):
        raise CheckFailed(f"{found} items without a name", try_="name them")
"""
ASYNC = CHECKS.replace("def checks", "async def checks").replace(
    "connection.scalar", "await connection.scalar"
)
WITHOUT_NAME = "INSERT INTO item (name) VALUES ('')"


def add_checks(shop: Shop, name: str, checks: str) -> None:
    """Add checks to a revision."""
    file = shop.versions / f"{name}.py"
    file.write_text(file.read_text() + checks)


async def with_an_item_without_a_name(shop: Shop, checks: str) -> None:
    """Give the project a table with a row that the checks of the pending revision refuse."""
    shop.write("a1", None, CREATE_ITEM)
    assert 0 == (await shop.manage("db migrate")).exit_code
    await shop.query(WITHOUT_NAME)
    shop.write("a2", "a1", INSERT_ONE)
    add_checks(shop, "a2", checks)


async def test_a_check_that_fails_refuses_before_anything_is_applied(shop: Shop) -> None:
    """The error has the message of the check, and what it says to do. Then the revision passes."""
    await with_an_item_without_a_name(shop, CHECKS)
    shop.write("a3", "a2", INSERT_ONE)

    refused = await shop.manage("db migrate")
    rows = await shop.query("SELECT name FROM item")
    await shop.query("UPDATE item SET name = 'two'")
    applied = await shop.manage("db migrate")

    assert (77, [("",)]) == (refused.exit_code, rows)
    assert (
        "error[revision-check-failed]: revision a2 (Revision a2) may not be applied: "
        "1 items without a name\n"
        "  why:  checks() in migrations/versions/a2.py failed; nothing was applied\n"
        "  try:  name them\n"
        "  try:  python manage.py migrate\n"
    ) in refused.stderr
    assert (0, ["a3"]) == (applied.exit_code, await shop.versions_applied()), applied.stderr


async def test_checks_may_be_a_coroutine_function(shop: Shop) -> None:
    """They get an AsyncConnection."""
    await with_an_item_without_a_name(shop, ASYNC)

    refused = await shop.manage("db migrate")

    assert (77, ["a1"]) == (refused.exit_code, await shop.versions_applied())
    assert "may not be applied: 1 items without a name\n" in refused.stderr


async def test_checks_of_a_later_revision_see_what_those_before_it_did(shop: Shop) -> None:
    """They are called when the revisions before are applied, and the error names those."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", f'op.execute("{WITHOUT_NAME}")')
    shop.write("a3", "a2", INSERT_ONE)
    add_checks(shop, "a3", CHECKS)
    shop.write("a4", "a3", INSERT_ONE)

    refused = await shop.manage("db migrate")

    assert "a3.py failed; applied before it: a1, a2; not applied: a3, a4\n" in refused.stderr
    assert (77, ["a2"]) == (refused.exit_code, await shop.versions_applied())


async def test_a_dry_run_and_the_status_say_which_checks_fail(shop: Shop) -> None:
    """One that needs an earlier revision does not hide the others."""
    await with_an_item_without_a_name(shop, CHECKS)
    shop.write("a3", "a2", 'op.add_column("item", sa.Column("code", sa.Text()))')
    shop.write("a4", "a3")
    add_checks(shop, "a4", CHECKS.replace("name =", "code ="))
    shop.write("a5", "a4")
    add_checks(shop, "a5", CHECKS)

    for line in ("db migrate --dry-run", "db status"):
        shown = await shop.manage(line)
        assert 0 == shown.exit_code
        assert "checks of revision a2 fail now: 1 items without a name\n" in shown.stderr
        assert "checks of revision a4 fail now (before a2, a3): " in shown.stderr
        assert "checks of revision a5 fail now (before a2, a3, a4): 1 items" in shown.stderr


async def test_checks_can_not_write(shop: Shop) -> None:
    """Not even if they catch the error."""
    write = f'    connection.execute(sa.text("{WITHOUT_NAME}"))\n'
    await with_an_item_without_a_name(shop, f"\n\ndef checks(connection):\n{write}")

    refused = await shop.manage("db migrate")

    assert (1, True) == (refused.exit_code, "error[read-only]: checks() in" in refused.stderr)
    assert [("",)] == await shop.query("SELECT name FROM item")


async def test_checks_that_return_an_answer_are_an_error(sqlite_shop: Shop) -> None:
    """It would look as if they had passed."""
    await with_an_item_without_a_name(
        sqlite_shop, "\n\ndef checks(connection):\n    return False\n"
    )

    refused = await sqlite_shop.manage("db migrate")

    assert "checks() in migrations/versions/a2.py returned False" in refused.stderr
    assert ["a1"] == await sqlite_shop.versions_applied()


async def test_checks_that_break_are_no_answer(sqlite_shop: Shop) -> None:
    """The error names their line."""
    await with_an_item_without_a_name(sqlite_shop, "\n\ndef checks(connection):\n    1 / 0\n")

    refused = await sqlite_shop.manage("db migrate")

    line = len((sqlite_shop.versions / "a2.py").read_text().splitlines())
    where = f"the checks of revision a2 (Revision a2) failed at migrations/versions/a2.py:{line}"
    assert f"error[migration-failed]: {where}: ZeroDivisionError" in refused.stderr
    assert ["a1"] == await sqlite_shop.versions_applied()
