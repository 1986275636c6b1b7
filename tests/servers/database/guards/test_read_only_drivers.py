"""Transactions of other drivers' connections are read-only during a dry run, and stay so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import DryRunViolation
from oneoff.database.engine import Database
from oneoff.database.transaction import WorkTransaction
from tests.support.rehearsal import METADATA, WRITE, rehearse, saved


@pytest.fixture
async def on_postgresql(postgres_url: str) -> AsyncIterator[Database]:
    """Make a PostgreSQL database with the table of notes."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()
    yield database
    await database.dispose()


@pytest.mark.parametrize(
    "statement", ["SET TRANSACTION READ WRITE", "SET transaction_read_only=off", "COMMIT", "END"]
)
async def test_another_engine_can_not_leave_its_read_only_transaction(
    on_postgresql: Database, statement: str
) -> None:
    """Its first statement can't end the transaction or switch the protection off."""

    async def leaves(_: WorkTransaction, database: Database) -> None:
        engine = create_async_engine(database.url.sqlalchemy(), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
            await connection.execute(text(WRITE))

    with pytest.raises(Exception, match=r"read-write|another connection"):
        await rehearse(on_postgresql, leaves)

    assert [] == await saved(on_postgresql)


@pytest.mark.parametrize("own", [False, True], ids=["another engine", "the engine of the run"])
@pytest.mark.parametrize("first", ["ROLLBACK", "COMMIT", "BEGIN READ WRITE", "ROLLBACK; BEGIN"])
async def test_the_driver_of_another_engine_can_not_leave_the_read_only_transaction(
    on_postgresql: Database, first: str, *, own: bool
) -> None:
    """A transaction that is started on the driver is read-only too."""

    async def writes(_: WorkTransaction, database: Database) -> None:
        another = create_async_engine(database.url.sqlalchemy(), poolclass=NullPool)
        engine = database.engine if own else another
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(first)
            await driver.execute(WRITE)
            await driver.execute("COMMIT")

    with pytest.raises(Exception, match=r"read-only|read-write|another connection"):
        await rehearse(on_postgresql, writes)

    assert [] == await saved(on_postgresql)


async def test_a_chained_transaction_can_not_be_made_writable(on_postgresql: Database) -> None:
    """It has no query before the caller's first statement, unless one is sent with its start."""

    async def writes(_: WorkTransaction, database: Database) -> None:
        engine = create_async_engine(database.url.sqlalchemy(), poolclass=NullPool)
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            for statement in ("COMMIT AND CHAIN", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"):
                await driver.execute(statement)

    with pytest.raises(Exception, match="read-write mode must be set before any query"):
        await rehearse(on_postgresql, writes)

    assert [] == await saved(on_postgresql)


async def test_a_transaction_that_the_driver_began_before_the_run_is_made_read_only(
    on_postgresql: Database,
) -> None:
    """Its BEGIN was sent without the statement that makes it read-only."""
    engine = create_async_engine(on_postgresql.url.sqlalchemy(), poolclass=NullPool)

    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.cursor().execute("SELECT 1")

    async with engine.connect() as connection:
        await connection.run_sync(begin)

        async def writes(_: WorkTransaction, __: Database) -> None:
            await connection.execute(text(WRITE))
            await connection.commit()

        with pytest.raises(DryRunViolation, match="another connection"):
            await rehearse(on_postgresql, writes)

    assert [] == await saved(on_postgresql)
