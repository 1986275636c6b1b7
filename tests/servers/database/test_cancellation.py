"""Connections whose work is cancelled: nothing is left behind, and nothing stays locked."""

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


async def test_a_real_run_survives_the_cancellation_of_its_work(database: Database) -> None:
    """A cancelled task leaves no transaction behind: the next writer doesn't wait."""
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


async def test_a_statement_that_is_never_finished_does_not_lock_a_closed_file(
    sqlite_url: str,
) -> None:
    """A task that was cancelled in a statement refers to it for as long as its error is told."""
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


async def test_a_dry_run_that_is_cancelled_in_a_statement_ends_as_cancelled(
    sqlite_url: str,
) -> None:
    """Its connection is closed by then, and holds nothing that could be written."""
    database = make_database(sqlite_url)

    with pytest.raises(asyncio.CancelledError):
        async with begin_work(database, Mode.ROLLBACK) as work:
            await work.connection.exec_driver_sql("CREATE TABLE things (id int)")
            await work.connection.invalidate()
            raise asyncio.CancelledError

    assert 0 == await scalar(database, "SELECT count(*) FROM sqlite_master")
    await database.dispose()
