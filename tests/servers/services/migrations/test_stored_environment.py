"""`migrate` beside other runs: what it waits for, and the environment that it stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.locks.acquire import make_lock
from oneoff.database.schema.facts import read_facts, store_environment
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.migrations.resource import Migrations
from tests.support.shop import CREATE_ITEM, Shop


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Database]:
    """Return the database of another run."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="other")
    yield database
    await database.dispose()


async def test_the_first_migrate_waits_for_the_framework_tables_as_long_as_it_is_told(
    tmp_path: Path, database_url: str, other: Database
) -> None:
    """Another process creates them at the same time."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.write("a1", None, CREATE_ITEM)
    lock = make_lock(other, "schema")
    assert await lock.try_acquire()

    done = await shop.manage("db migrate --lock-wait 0")
    await lock.release()

    assert 75 == done.exit_code
    assert "error[lock-busy]: the lock 'schema' is held by " in done.stderr
    assert "it was not released within 0 s" in done.stderr


@pytest.mark.parametrize(
    ("stored", "given", "kept"),
    [
        ("production", "development", "production"),
        ("development", "production", "production"),
        ("", "development", "development"),
    ],
)
async def test_a_stricter_environment_that_was_stored_meanwhile_stays(
    other: Database, stored: str, given: str, kept: str
) -> None:
    """A run decides about its environment before it waits for the lock."""
    await ensure_schema(other)
    async with other.transaction("schema") as connection:
        if stored:
            await store_environment(connection, await read_facts(connection, other.url), stored)
    migrations = Migrations(Path(), Path(), other, None, Mode.COMMIT)

    changed = await migrations.ensure_environment(given)
    await migrations.close()

    async with other.connect("look") as connection:
        assert kept == (await read_facts(connection, other.url)).stored_environment
    assert changed == (stored != kept)
