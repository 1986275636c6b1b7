"""A connection to SQLite that is closed in the middle of something."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from oneoff.mode import Mode
from oneoff.resources.database import Database
from oneoff.resources.work import begin_work
from oneoff.urls import parse_database_url

TABLES = "SELECT count(*) FROM sqlite_master"


def make_database(url: str) -> Database:
    """Return the database of one run."""
    return Database(parse_database_url(url, Path(), "shop"), run_id="closing")


async def tables(database: Database) -> object:
    """Return how many tables there are."""
    async with database.connect() as connection:
        return (await connection.exec_driver_sql(TABLES)).scalar_one()


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

    assert 1 == await tables(database)
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

    assert 0 == await tables(database)
    await database.dispose()
