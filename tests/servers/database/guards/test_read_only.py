"""Read-only runs and planned dry runs can't write to the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import CommandError, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error
from oneoff.database.transaction import WorkTransaction
from tests.support.rehearsal import protected_work

METADATA = MetaData()
NOTES = Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("text", Text))
WRITE = "INSERT INTO notes (text) VALUES ('written')"

Writes = Callable[[WorkTransaction, Database], Awaitable[Any]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database with one row."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(NOTES).values(text="first"))
        await connection.commit()
    yield database
    await database.dispose()


async def rows(database: Database) -> int:
    """Return the number of rows that another client sees."""
    async with database.connect("look") as connection:
        return (await connection.execute(select(func.count()).select_from(NOTES))).scalar_one()


async def run_read_only(database: Database, command: Writes, *, swallow: bool = False) -> None:
    """Run a command as the executor runs one that only reads."""
    async with protected_work(database, Mode.READ_ONLY) as work:
        await work.session.execute(select(NOTES))
        try:
            await command(work, database)
        except Exception:
            if not swallow:
                raise


def sql(*statements: str) -> Writes:
    """Return a command that runs statements in its session."""

    async def command(work: WorkTransaction, _: Database) -> None:
        for statement in statements:
            await work.session.execute(text(statement))

    command.__name__ = "sql: " + "; ".join(statements)
    return command


async def driver_writes(work: WorkTransaction, _: Database) -> None:
    """Write on asyncpg or aiosqlite."""
    driver: Any = (await work.connection.get_raw_connection()).driver_connection
    await driver.execute(WRITE)


async def commits_and_writes(work: WorkTransaction, _: Database) -> None:
    """End the transaction and write after it."""
    connection = await work.session.connection()
    await connection.commit()
    await connection.execute(text(WRITE))


async def own_engine_writes(work: WorkTransaction, _: Database) -> None:
    """Write through the run's own engine."""
    async with work.connection.engine.begin() as connection:
        await connection.execute(text(WRITE))


async def engine_writes(_: WorkTransaction, database: Database) -> None:
    """Write through an engine of the application that commits each statement."""
    engine = create_async_engine(database.url.sqlalchemy(), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(WRITE))
    finally:
        await engine.dispose()


def names(command: Writes) -> str:
    """Return a readable id for a test."""
    return command.__name__


WRITES: list[Writes] = [
    sql(WRITE),
    sql("UPDATE notes SET text = 'other'"),
    sql("DELETE FROM notes"),
    sql("CREATE TABLE more (id int)"),
    sql("DROP TABLE notes"),
    sql("COMMIT", WRITE),
    sql("ROLLBACK", WRITE),
    driver_writes,
    commits_and_writes,
    own_engine_writes,
    engine_writes,
]


@pytest.mark.parametrize("command", WRITES, ids=names)
async def test_a_write_is_an_error(database: Database, command: Writes) -> None:
    """The error says that the connection is read-only, and nothing is saved."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - from the driver or from us
        await run_read_only(database, command)

    assert isinstance(translate_error(caught.value), ReadOnlyViolation)
    assert 1 == await rows(database)


@pytest.mark.parametrize("command", [engine_writes, sql(WRITE), sql("COMMIT")], ids=names)
async def test_a_swallowed_write_is_still_an_error(database: Database, command: Writes) -> None:
    """A write is not skipped silently."""
    with pytest.raises(ReadOnlyViolation):
        await run_read_only(database, command, swallow=True)

    assert 1 == await rows(database)


async def test_reading_works(database: Database) -> None:
    """It works through the session and through another engine."""
    engine = create_async_engine(database.url.sqlalchemy())
    async with protected_work(database, Mode.READ_ONLY) as work:
        in_session = (await work.session.execute(select(NOTES.c.text))).scalar_one()
        await work.session.commit()
        after_commit = (await work.session.execute(select(NOTES.c.text))).scalar_one()
        async with engine.connect() as connection:
            elsewhere = (await connection.execute(select(NOTES.c.text))).scalar_one()
    await engine.dispose()

    assert ["first"] * 3 == [in_session, after_commit, elsewhere]


async def test_the_framework_can_write_its_own_records(database: Database) -> None:
    """The record of the run is not part of the command's work."""
    async with (
        protected_work(database, Mode.READ_ONLY),
        database.connect("audit") as connection,
    ):
        await connection.execute(text(WRITE))
        await connection.commit()

    assert 2 == await rows(database)


async def test_the_next_connection_can_write(database: Database) -> None:
    """The read-only state ends with the run."""
    await run_read_only(database, sql("SELECT 1"))

    async with database.connect() as connection:
        await connection.execute(text(WRITE))
        await connection.commit()

    assert 2 == await rows(database)


class TestPostgreSQL:
    """Features that only PostgreSQL has."""

    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        """Use only PostgreSQL."""
        return postgres_url

    @pytest.mark.parametrize(
        "command",
        [
            sql("SET TRANSACTION READ WRITE", WRITE),
            sql("SELECT set_config('transaction_read_only', 'off', true)", WRITE),
            sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", WRITE),
            sql("SELECT nextval('notes_id_seq')"),
            sql("SELECT id FROM notes FOR UPDATE"),
        ],
        ids=names,
    )
    async def test_it_can_not_be_switched_off(self, database: Database, command: Writes) -> None:
        """After the first query, the server refuses READ WRITE."""
        with pytest.raises(Exception, match=r"read-only|read-write"):
            await run_read_only(database, command)

        assert 1 == await rows(database)

    async def test_a_copy_before_any_statement_is_an_error(self, database: Database) -> None:
        """BEGIN is sent before the command runs."""
        with pytest.raises(Exception, match="read-only"):
            async with protected_work(database, Mode.READ_ONLY) as work:
                raw = await work.connection.get_raw_connection()
                driver: Any = raw.driver_connection
                await driver.copy_records_to_table("notes", records=[(7, "copied")])

        assert 1 == await rows(database)

    async def test_read_only_works_behind_pgbouncer(
        self, database: Database, pgbouncer_url: str
    ) -> None:
        """No server connection of the pool stays read-only."""
        pooled = Database(parse_database_url(pgbouncer_url, Path(), "shop"), run_id="pooled")

        for command in (sql(WRITE), own_engine_writes, engine_writes):
            with pytest.raises(CommandError):
                await run_read_only(pooled, command, swallow=True)
        async with pooled.connect() as connection:
            await connection.execute(text(WRITE))
            await connection.commit()

        assert 2 == await rows(database)


class TestSQLite:
    """Features that only SQLite has."""

    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        """Use only SQLite."""
        return sqlite_url

    @pytest.mark.parametrize("pragma", ["PRAGMA query_only=OFF", "pragma QUERY_ONLY(0)"])
    async def test_it_can_not_be_switched_off(self, database: Database, pragma: str) -> None:
        """PRAGMA is refused in SQL and in a script on the driver, which commits first."""

        async def script(work: WorkTransaction, _: Database) -> None:
            driver: Any = (await work.connection.get_raw_connection()).driver_connection
            await driver.executescript(f"{pragma}; {WRITE}")

        for command in (sql(pragma, WRITE), script):
            with pytest.raises(ReadOnlyViolation):
                await run_read_only(database, command)

        assert 1 == await rows(database)
