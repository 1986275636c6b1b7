"""Cancelled work leaves no transaction and no lock behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.transaction import begin_work
from tests.servers.database.test_connect import make_database, scalar


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database."""
    database = make_database(database_url)
    yield database
    await database.dispose()


async def test_cancelled_work_leaves_no_transaction_behind(database: Database) -> None:
    """The next writer doesn't have to wait."""
    async with database.autocommit() as connection:
        await connection.exec_driver_sql("CREATE TABLE things (id int)")
    began = asyncio.Event()

    async def work() -> None:
        async with begin_work(database, Mode.COMMIT) as work:
            await work.connection.exec_driver_sql("INSERT INTO things VALUES (1)")
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with begin_work(database, Mode.COMMIT) as second:
        await second.connection.exec_driver_sql("DELETE FROM things")
        await second.commit()
    assert 0 == await scalar(database, "SELECT count(*) FROM things")


async def test_an_unfinished_statement_does_not_lock_the_file_after_close(
    sqlite_url: str,
) -> None:
    """The exception of a cancelled task keeps a reference to its cursor."""
    database = make_database(f"{sqlite_url}?timeout=1")
    async with database.connect(immediate=True) as connection:
        await connection.exec_driver_sql("CREATE TABLE things (id int)")
        driver: Any = (await connection.get_raw_connection()).driver_connection
        unfinished = await driver.execute("INSERT INTO things VALUES (1), (2) RETURNING id")
        await connection.invalidate()

    async with database.connect(immediate=True) as connection:
        await connection.exec_driver_sql("CREATE TABLE others (id int)")
        await connection.commit()

    assert 1 == await scalar(database, "SELECT count(*) FROM sqlite_master")
    del unfinished
    await database.dispose()


async def test_a_dry_run_that_is_cancelled_during_a_statement_ends_as_cancelled(
    sqlite_url: str,
) -> None:
    """Its connection is closed by then, so the guard has nothing to report."""
    database = make_database(sqlite_url)

    with pytest.raises(asyncio.CancelledError):
        async with begin_work(database, Mode.ROLLBACK) as work:
            await work.connection.exec_driver_sql("CREATE TABLE things (id int)")
            await work.connection.invalidate()
            raise asyncio.CancelledError

    assert 0 == await scalar(database, "SELECT count(*) FROM sqlite_master")
    await database.dispose()
