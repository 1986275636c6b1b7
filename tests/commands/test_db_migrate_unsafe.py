"""`db migrate` refuses unsafe revisions in protected environments."""

from __future__ import annotations

from tests.support.lint.items import DROP, INDEX, MANY, add, with_items
from tests.support.shop import CREATE_ITEM, Shop

FINISHED = (
    "INSERT INTO oneoff_batches (id, key, command, arguments, status, run_id, fence, started_at, "
    "heartbeat_at, finished_at) VALUES ('one', 'x', 'data transform fill-locale', '{}', "
    "'finished', 'r', 1, '2026-01-01', '2026-01-01', '2026-01-01')"
)


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
    assert 1 == (refused.stdout + refused.stderr).count("creating an index blocks writes")
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


async def test_a_revision_waits_for_the_batch_that_it_requires(shop: Shop) -> None:
    """In any environment. The lines to run are in their order."""
    await with_items(shop, "pass")
    shop.write("a3", "a2")
    file = shop.versions / "a3.py"
    file.write_text(f'{file.read_text()}\nrequires_batches = ("fill-locale",)\n')

    previewed = await shop.manage("db migrate --dry-run")
    await shop.query(FINISHED.replace("'one'", "'none'").replace("finished'", "cancelled'"))
    refused = await shop.manage("db migrate")
    before = await shop.versions_applied()
    await shop.query(FINISHED)
    await shop.query(FINISHED.replace("'one'", "'two'").replace("fill-locale", "other --revert"))
    applied = await shop.manage("db migrate")

    assert "requires the batch fill-locale, which has not finished here" in previewed.stderr
    assert 77 == refused.exit_code
    assert "error[batch-required]: revision a3 requires the batch fill-locale\n" in refused.stderr
    assert (
        "  try:  python manage.py migrate --revision a2\n"
        "  try:  python manage.py data transform fill-locale --confirm\n"
        "  try:  python manage.py migrate\n"
    ) in refused.stderr
    assert ["a1"] == before
    assert (0, ["a3"]) == (applied.exit_code, await shop.versions_applied()), applied.stderr


async def test_a_batch_that_was_reverted_has_to_run_again(sqlite_shop: Shop) -> None:
    """The state of the newest one counts."""
    await with_items(sqlite_shop, "pass")
    add(sqlite_shop, 'requires_batches = ("fill-locale",)')
    await sqlite_shop.query(FINISHED)
    revert = FINISHED.replace("'one'", "'two'").replace("fill-locale", "fill-locale --revert")
    await sqlite_shop.query(revert.replace("2026-01-01", "2026-01-02"))

    assert 77 == (await sqlite_shop.manage("db migrate")).exit_code


async def test_a_new_database_needs_no_batch(shop: Shop) -> None:
    """It has no rows that a batch could change."""
    shop.write("a1", None, CREATE_ITEM)
    file = shop.versions / "a1.py"
    file.write_text(f'{file.read_text()}\nrequires_batches = ("fill-locale",)\n')

    assert 0 == (await shop.manage("db migrate")).exit_code


async def test_a_name_in_place_of_a_list_is_an_error(sqlite_shop: Shop) -> None:
    """Each of its characters would be a name."""
    await with_items(sqlite_shop, "pass")
    add(sqlite_shop, 'requires_batches = ("fill-locale")')

    refused = await sqlite_shop.manage("db migrate")

    assert "requires_batches in migrations/versions/a2.py is no list of names" in refused.stderr
