"""Statements are joined into few messages; what they mean stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.database.asyncpg_adapter import driver_of, set_autocommit
from oneoff.database.engine import Database
from oneoff.database.guards.postgresql import keep_for_this_task
from oneoff.database.locks.acquire import acquire, hold_both, make_lock
from oneoff.database.schema.facts import read_facts
from oneoff.database.transaction import begin_work


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """Make a database with one table."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="run")
    async with database.transaction() as connection:
        await connection.exec_driver_sql("CREATE TABLE things (id int PRIMARY KEY)")
    yield database
    await database.dispose()


async def things(database: Database) -> int:
    """Count the committed rows."""
    async with database.connect() as connection:
        return int((await connection.exec_driver_sql("SELECT count(*) FROM things")).scalar_one())


async def test_the_first_connection_knows_what_sqlalchemy_would_ask(database: Database) -> None:
    """The version, the default schema, and how a backslash is written."""
    async with database.connect() as connection:
        version = (await connection.exec_driver_sql("SHOW server_version")).scalar_one()
        schema = (await connection.exec_driver_sql("SELECT current_schema()")).scalar_one()
        dialect = connection.dialect
        assert version.startswith(".".join(map(str, dialect.server_version_info or ())))
        assert schema == dialect.default_schema_name
        assert not dialect._backslash_escapes  # type: ignore[attr-defined]
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert ["things"] == tables


async def test_read_facts_stores_the_default_schema(database: Database) -> None:
    """The connection does not ask for it, because the facts contain it."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql("CREATE SCHEMA own")
        await connection.exec_driver_sql("ALTER ROLE CURRENT_USER SET search_path = own")
    other = Database(database.url, run_id="other")
    try:
        async with other.connect(reads_facts=True) as connection:
            await read_facts(connection, other.url)
            assert "own" == connection.dialect.default_schema_name
    finally:
        async with database.transaction() as connection:
            await connection.exec_driver_sql("ALTER ROLE CURRENT_USER RESET search_path")
        await other.dispose()


async def test_several_statements_in_one_text_are_still_refused(database: Database) -> None:
    """As text they would run, so they are prepared."""
    async with database.connect() as connection:
        with pytest.raises(DBAPIError, match="multiple commands"):
            await connection.exec_driver_sql("DELETE FROM things; DROP TABLE things")


async def test_a_statement_that_is_sent_as_text_returns_its_rows(database: Database) -> None:
    """The count of rows comes from the server's answer."""
    async with database.connect() as connection:
        insert = "INSERT INTO things SELECT generate_series(1, 3)"
        assert 3 == (await connection.exec_driver_sql(insert)).rowcount
        returned = await connection.exec_driver_sql("DELETE FROM things RETURNING id")
        assert {1, 2, 3} == set(returned.scalars())


async def test_a_statement_that_the_project_prepares_is_prepared(database: Database) -> None:
    """Only the adapter of SQLAlchemy gets a text instead."""
    async with database.connect() as connection:
        prepared = await (await driver_of(connection)).prepare("DELETE FROM things")
        assert () == prepared.get_parameters()


async def test_without_autocommit_the_level_of_the_role_counts_again(database: Database) -> None:
    """SQLAlchemy would set the level that the first connection had."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'repeatable read'"
        )
    try:
        async with database.connect() as connection:
            await set_autocommit(connection, on=True)
            await connection.exec_driver_sql("INSERT INTO things VALUES (1)")
            await set_autocommit(connection, on=False)
            await connection.rollback()
            level = await connection.exec_driver_sql("SHOW transaction_isolation")
            assert "repeatable read" == level.scalar_one()
    finally:
        async with database.transaction() as connection:
            await connection.exec_driver_sql(
                "ALTER ROLE CURRENT_USER RESET default_transaction_isolation"
            )
    assert 1 == await things(database)


@pytest.mark.parametrize("mode", [Mode.COMMIT, Mode.READ_ONLY, Mode.ROLLBACK])
async def test_after_the_work_only_the_record_uses_the_connection(
    database: Database, mode: Mode
) -> None:
    """A task that the command left behind can't write in the transactions of the record."""
    ended = asyncio.Event()
    async with database.connect(guarded=mode is not Mode.COMMIT) as connection:
        async with begin_work(database, mode, lent=connection) as work:

            async def write_too_late() -> None:
                await ended.wait()
                await work.session.execute(things_insert)

            from sqlalchemy import text

            things_insert = text("INSERT INTO things VALUES (7)")
            left_behind = asyncio.create_task(write_too_late())
            await asyncio.sleep(0)
        keep_for_this_task(await driver_of(connection))
        await connection.rollback()
        await set_autocommit(connection, on=True)
        ended.set()
        with pytest.raises(CommandError, match="after the command had ended"):
            await left_behind
        await connection.exec_driver_sql("INSERT INTO things VALUES (1)")
    assert 1 == await things(database)


async def test_a_free_lock_is_taken_with_the_lock_that_shows_that_the_run_is_alive(
    database: Database,
) -> None:
    """It is held until the end of that transaction. A lock that is not free is not waited for."""
    async with database.connect("audit") as connection:
        lock = await hold_both(connection, database, "run:run", "migrations")
        assert lock is not None
        await lock.check()
        other = Database(database.url, run_id="other")
        async with other.connect("audit") as second:
            assert await hold_both(second, other, "run:other", "migrations") is None
        waiting = asyncio.create_task(acquire(make_lock(other, "migrations"), wait=30))
        await connection.rollback()
        await (await waiting).release()
        await other.dispose()
