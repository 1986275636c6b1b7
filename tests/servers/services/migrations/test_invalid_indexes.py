"""`db migrate` after an interrupted CREATE INDEX CONCURRENTLY."""

from __future__ import annotations

import pytest

from oneoff.services.migrations.invalid_indexes import drop_invalid
from tests.support.shop import CREATE_ITEM, INSERT_ONE, Shop

UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY {}uq_name ON item (name)"
STATE = "SELECT indisvalid, indexrelid::int FROM pg_index WHERE indexrelid = 'uq_name'::regclass"


async def with_invalid_index(shop: Shop, exists: str = "") -> Shop:
    """Let a revision fail while it creates an index, because two rows have the same name."""
    shop.write("a1", None, f"{CREATE_ITEM}\n{INSERT_ONE}\n{INSERT_ONE}")
    outside = "with op.get_context().autocommit_block():\n    op.execute({!r})"
    shop.write("a2", "a1", outside.format(UNIQUE.format(exists)))
    failed = await shop.manage("db migrate")
    assert "error[migration-failed]: revision a2" in failed.stderr
    assert [False] == [row[0] for row in await shop.query(STATE)]
    return shop


@pytest.mark.parametrize("exists", ["", "IF NOT EXISTS "])
async def test_the_invalid_index_is_created_again(postgres_shop: Shop, exists: str) -> None:
    """With IF NOT EXISTS too, where PostgreSQL would keep the invalid one."""
    shop = await with_invalid_index(postgres_shop, exists)
    await shop.query("DELETE FROM item WHERE id = 1")

    again = await shop.manage("db migrate")

    assert 0 == again.exit_code, again.stderr
    assert (
        "warning: the invalid index uq_name, which an interrupted run left, was created again"
    ) in again.stderr
    assert [True] == [row[0] for row in await shop.query(STATE)]


async def test_a_valid_index_of_this_name_is_kept(postgres_shop: Shop) -> None:
    """IF NOT EXISTS skips it, as before."""
    shop = await with_invalid_index(postgres_shop, "IF NOT EXISTS ")
    await shop.query("DELETE FROM item WHERE id = 1")
    await shop.query("REINDEX INDEX uq_name")
    before = await shop.query(STATE)

    again = await shop.manage("db migrate")

    assert (0, True) == (again.exit_code, "created again" not in again.stderr)
    assert before == await shop.query(STATE)


@pytest.mark.parametrize(
    ("sql", "dropped"),
    [
        (UNIQUE.format(""), "uq_name"),
        ('create unique index concurrently "uq_name" on public.item (name)', "uq_name"),
        (UNIQUE.format("").replace("ON item", "ON oneoff_runs"), ""),
        (UNIQUE.format("").replace("CONCURRENTLY ", ""), ""),
        ("DROP INDEX CONCURRENTLY uq_name", ""),
    ],
)
async def test_only_the_index_of_the_statement_is_dropped(
    postgres_shop: Shop, sql: str, dropped: str
) -> None:
    """By its name and its table."""
    shop = await with_invalid_index(postgres_shop)
    database = shop.database()

    async with database.autocommit("look") as connection:
        found = await connection.run_sync(drop_invalid, sql)
    await database.dispose()

    assert dropped == found
    assert len(
        await shop.query(STATE.replace("'uq_name'::regclass", "to_regclass('uq_name')"))
    ) == (0 if dropped else 1)


async def test_an_index_that_another_session_builds_is_not_dropped(postgres_shop: Shop) -> None:
    """It is invalid until it is complete, and its session holds this lock."""
    shop = await with_invalid_index(postgres_shop)
    database = shop.database()

    async with database.connect() as building, database.autocommit("look") as connection:
        await building.exec_driver_sql("LOCK TABLE item IN SHARE UPDATE EXCLUSIVE MODE")
        found = await connection.run_sync(drop_invalid, UNIQUE.format(""))
    await database.dispose()

    assert "" == found
