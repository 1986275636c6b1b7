"""The error of a write that was refused on another connection names its database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from oneoff.core.errors import CommandError
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from tests.support.rehearsal import WRITE, names, protected_work, saved


async def in_a_transaction(engine: AsyncEngine) -> None:
    """Write as most services do."""
    async with engine.begin() as connection:
        await connection.execute(text(WRITE))


async def with_the_driver(engine: AsyncEngine) -> None:
    """Write on the driver's connection, of whose errors SQLAlchemy sees nothing."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(WRITE)


async def with_a_connection_of_the_pool(engine: AsyncEngine) -> None:
    """Write on a connection that the pool gives without SQLAlchemy's own."""
    raw = await engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        await driver.execute(WRITE)
    finally:
        raw.close()


async def by_ending_the_protection(engine: AsyncEngine) -> None:
    """End the transaction that is read-only."""
    async with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        await connection.execute(text("PRAGMA query_only=OFF" if sqlite else "COMMIT"))


@pytest.mark.parametrize(
    "write",
    [in_a_transaction, with_the_driver, with_a_connection_of_the_pool, by_ending_the_protection],
    ids=names,
)
@pytest.mark.parametrize(
    ("mode", "code"), [(Mode.READ_ONLY, "read-only"), (Mode.ROLLBACK, "dry-run-violation")]
)
async def test_a_refused_write_names_the_database_and_the_kind_of_run(
    database: Database, write: Any, mode: Mode, code: str
) -> None:
    """However it was written."""
    engine = create_async_engine(database.url.sqlalchemy())

    with pytest.raises(CommandError) as caught:
        async with protected_work(database, mode):
            await write(engine)
    await engine.dispose()

    assert code == caught.value.code
    assert database.url.database in caught.value.message
    assert "through another connection" in caught.value.message
    assert [] == await saved(database)
