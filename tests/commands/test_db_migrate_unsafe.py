"""`db migrate` refuses unsafe revisions in protected environments."""

from __future__ import annotations

from tests.support.lint.items import DROP, INDEX, MANY, add, with_items
from tests.support.shop import Shop


async def test_a_protected_environment_refuses_an_unsafe_revision(postgres_shop: Shop) -> None:
    """Nothing is applied, also not the safe revision before it. A dry run says so."""
    shop = await with_items(postgres_shop, 'op.add_column("item", sa.Column("x", sa.Text()))', MANY)
    shop.write("a3", "a2", INDEX)
    production = {"ENVIRONMENT": "production"}

    previewed = await shop.manage("db migrate --dry-run", environ=production)
    refused = await shop.manage("db migrate", environ=production)

    assert 0 == previewed.exit_code
    assert "revision a3: create-index (item.ix_item_id_name)" in previewed.stderr
    assert "migrate will refuse this here" in previewed.stderr
    assert 77 == refused.exit_code
    assert "error[unsafe-migration]: 1 unsafe operation in a3; nothing applied" in refused.stderr
    assert "try:  python manage.py db lint\n" in refused.stderr
    waiver = 'migrations/versions/a3.py: lint_waivers = {"create-index": "REASON"}'
    assert f"try:  if it is safe here, write into {waiver}\n" in refused.stderr
    assert ["a1"] == await shop.versions_applied()


async def test_a_waiver_lets_the_revision_pass_in_a_protected_environment(shop: Shop) -> None:
    """On both databases."""
    await with_items(shop, 'op.rename_table("item", "things")')
    production = {"ENVIRONMENT": "production"}

    refused = await shop.manage("db migrate", environ=production)
    add(shop, 'lint_waivers = {"rename-table": "the application is stopped"}')
    applied = await shop.manage("db migrate", environ=production)

    assert (77, 0) == (refused.exit_code, applied.exit_code), applied.stderr
    assert ["a2"] == await shop.versions_applied()


async def test_other_environments_are_only_warned(shop: Shop) -> None:
    """The revision is applied."""
    await with_items(shop, 'op.rename_table("item", "things")')

    applied = await shop.manage("db migrate")

    assert 0 == applied.exit_code
    assert "warning: revision a2: rename-table (item.things)" in applied.stderr
    assert "production would refuse this: see `python manage.py db lint`" in applied.stderr
    assert ["a2"] == await shop.versions_applied()


async def test_a_wrong_waiver_stops_migrate_in_any_environment(sqlite_shop: Shop) -> None:
    """Nothing is applied."""
    await with_items(sqlite_shop, DROP)
    add(sqlite_shop, 'lint_waivers = {"drop-column": ""}')

    refused = await sqlite_shop.manage("db migrate")

    assert (1, True) == (refused.exit_code, "error[bad-waiver]" in refused.stderr)
    assert ["a1"] == await sqlite_shop.versions_applied()
