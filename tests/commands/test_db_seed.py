"""`db seed`: load sample data once, and not in production."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, Shop

PRODUCTION = {"ENVIRONMENT": "production"}


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a migrated project."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    return shop


async def names(shop: Shop) -> list[str]:
    """Return the names of the items."""
    return [row[0] for row in await shop.query("SELECT name FROM item ORDER BY name")]


async def test_all_seeds_are_loaded_once(shop: Shop) -> None:
    """The second run finds that all rows exist."""
    first = await shop.manage("db seed --confirm")
    again = await shop.manage("db seed --confirm")

    assert "seed        rows\nsamples        1\nreferences     1\nloaded 2 rows\n" == first.stdout
    assert (0, "nothing to do: all rows exist\n") == (again.exit_code, again.stdout)
    assert ["reference", "sample"] == await names(shop)


@pytest.mark.parametrize(
    ("name", "says"),
    [("", "it loads sample data into "), ("samples", "it loads the sample data of samples into ")],
)
async def test_the_confirmation_names_the_sample_data(shop: Shop, name: str, says: str) -> None:
    """And the database."""
    refused = await shop.manage(f"db seed {name}")

    assert (77, True) == (refused.exit_code, says in refused.stderr)


async def test_one_seed_is_loaded_by_name(shop: Shop) -> None:
    """The others are not loaded."""
    await shop.manage("db seed samples --confirm")

    assert ["sample"] == await names(shop)


async def test_the_error_for_an_unknown_seed_lists_the_seeds(shop: Shop) -> None:
    """It suggests the most similar one."""
    failed = await shop.manage("db seed sampels --confirm")

    assert (
        "error[unknown-seed]: there is no seed 'sampels'; did you mean samples?\n"
        "  try:  python manage.py db seed samples\n"
        "  try:  one of the project's seeds: samples, references\n"
    ) in failed.stderr


async def test_sample_data_is_refused_in_production(shop: Shop) -> None:
    """The exit code is 77."""
    refused = await shop.manage("db seed samples --confirm", environ=PRODUCTION)

    assert 77 == refused.exit_code
    assert "error[seed-refused]: samples must not be loaded in production" in refused.stderr
    assert [] == await names(shop)


async def test_only_seeds_declared_for_production_are_loaded_there(shop: Shop) -> None:
    """A warning names the others."""
    loaded = await shop.manage("db seed --confirm --json", environ=PRODUCTION)

    assert ["skipped in production: samples"] == loaded.json["warnings"]
    assert ["reference"] == await names(shop)


async def test_a_dry_run_of_the_seeds_writes_nothing(shop: Shop) -> None:
    """It counts the rows."""
    shown = await shop.manage("db seed --dry-run --json")

    assert (True, 2) == (shown.json["dry_run"], shown.json["rows"])
    assert [] == await names(shop)
