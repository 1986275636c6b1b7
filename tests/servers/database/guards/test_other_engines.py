"""Other engines than that of the session are read-only during a dry run."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import CommandError, DryRunViolation
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error
from oneoff.database.guards.other_engines import read_only_engines
from oneoff.database.transaction import WorkTransaction, begin_work
from tests.support.rehearsal import (
    METADATA,
    NOTES,
    WRITE,
    Hostile,
    names,
    protected_work,
    rehearse,
    saved,
)


async def engine_writes(_: WorkTransaction, database: Database) -> None:
    """Write through an engine of the application."""
    engine = create_async_engine(database.url.sqlalchemy())
    try:
        async with AsyncSession(engine) as session:
            await session.execute(insert(NOTES).values(text="from another engine"))
            await session.commit()
    finally:
        await engine.dispose()


async def engine_writes_in_autocommit(_: WorkTransaction, database: Database) -> None:
    """Write through an engine that commits each statement."""
    engine = create_async_engine(database.url.sqlalchemy(), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(insert(NOTES).values(text="from another engine"))
    finally:
        await engine.dispose()


async def connection_writes_in_autocommit(_: WorkTransaction, database: Database) -> None:
    """Write through a connection that commits each statement."""
    engine = create_async_engine(database.url.sqlalchemy())
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(insert(NOTES).values(text="from another engine"))
    finally:
        await engine.dispose()


def engine_writes_on_the_driver(**options: Any) -> Hostile:
    """Write on the driver's connection of another engine."""

    async def command(_: WorkTransaction, database: Database) -> None:
        engine = create_async_engine(database.url.sqlalchemy(), **options)
        try:
            async with engine.connect() as connection:
                if not options:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.execute(WRITE)
                if hasattr(driver, "commit"):
                    await driver.commit()
        finally:
            await engine.dispose()

    command.__name__ = f"engine_writes_on_the_driver {options}"
    return command


async def own_engine_writes(work: WorkTransaction, _: Database) -> None:
    """Write through the run's own engine."""
    async with work.connection.engine.begin() as connection:
        await connection.execute(insert(NOTES).values(text="from the run's engine"))


async def database_resource_writes(_: WorkTransaction, database: Database) -> None:
    """Write through the resource `database`."""
    async with database.connect() as connection:
        await connection.execute(insert(NOTES).values(text="from the run's database"))
        await connection.commit()


OTHER_CONNECTIONS: list[Hostile] = [
    engine_writes,
    engine_writes_in_autocommit,
    connection_writes_in_autocommit,
    own_engine_writes,
    database_resource_writes,
]

ON_DRIVER = [
    engine_writes_on_the_driver(),
    engine_writes_on_the_driver(hide_parameters=True),
    engine_writes_on_the_driver(isolation_level="AUTOCOMMIT"),
]


@pytest.mark.parametrize("command", [*OTHER_CONNECTIONS, *ON_DRIVER], ids=names)
async def test_writing_through_another_connection_is_an_error_and_nothing_is_saved(
    database: Database, command: Hostile
) -> None:
    """The database refuses the write, because a rollback could not undo it."""
    with pytest.raises(Exception, match=r"read.?only|another connection") as caught:
        await rehearse(database, command)

    assert isinstance(translate_error(caught.value), CommandError)
    assert [] == await saved(database)


@pytest.mark.parametrize("command", OTHER_CONNECTIONS, ids=names)
async def test_a_swallowed_write_through_another_connection_is_reported_at_the_end(
    database: Database, command: Hostile
) -> None:
    """The operator sees the refusal even if the command caught the error."""
    with pytest.raises(DryRunViolation, match="another connection"):
        await rehearse(database, command, swallow=True)

    assert [] == await saved(database)


async def test_other_engines_can_write_after_the_dry_run(database: Database) -> None:
    """A pooled connection that the dry run used is restored."""
    engine = create_async_engine(
        database.url.sqlalchemy(),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
    )

    async def reads(_: WorkTransaction, __: Database) -> None:
        async with engine.connect() as connection:
            await connection.execute(select(NOTES))

    await rehearse(database, reads)
    async with engine.begin() as connection:
        await connection.execute(insert(NOTES).values(text="after"))
    await engine.dispose()

    assert ["after"] == await saved(database)


async def test_a_connection_that_was_opened_before_the_run_is_read_only_during_it(
    database: Database,
) -> None:
    """It can write afterwards, although it never returned to a pool."""
    engine = create_async_engine(database.url.sqlalchemy())
    async with engine.connect() as connection:
        await connection.execute(select(NOTES))
        await connection.rollback()

        async def writes(_: WorkTransaction, __: Database) -> None:
            await connection.execute(text(WRITE))

        with pytest.raises(DryRunViolation, match="another connection"):
            await rehearse(database, writes)
        await connection.rollback()
        await connection.execute(insert(NOTES).values(text="after"))
        await connection.commit()
    await engine.dispose()

    assert ["after"] == await saved(database)


async def test_an_autocommit_engine_commits_each_statement_after_the_dry_run(
    database: Database,
) -> None:
    """Its isolation level is restored too."""
    engine = create_async_engine(
        database.url.sqlalchemy(),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
    )

    async def reads(_: WorkTransaction, __: Database) -> None:
        async with engine.connect() as connection:
            await connection.execute(select(NOTES))

    await rehearse(database, reads)
    async with engine.connect() as connection:
        await connection.execute(insert(NOTES).values(text="after"))
    await engine.dispose()

    assert ["after"] == await saved(database)


async def test_tasks_outside_of_the_run_can_write(database: Database) -> None:
    """If a web request calls a command, other requests can still write."""
    start, done = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        await start.wait()
        await engine_writes(None, database)  # type: ignore[arg-type]
        done.set()

    async def waits(_: WorkTransaction, __: Database) -> None:
        start.set()
        await done.wait()

    task = asyncio.create_task(request())
    # SQLite has one writer at a time, so there the run must not have written yet.
    if database.url.dialect == "sqlite":
        async with protected_work(database, Mode.READ_ONLY) as work:
            await waits(work, database)
    else:
        await rehearse(database, waits)
    await task

    assert ["from another engine"] == await saved(database)


async def test_other_engines_are_read_only_behind_pgbouncer(
    postgres_url: str, pgbouncer_url: str
) -> None:
    """No server connection of the pool stays read-only."""
    direct = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    pooled = Database(parse_database_url(pgbouncer_url, Path(), "shop"), run_id="pooled")
    async with direct.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()

    for command in (own_engine_writes, database_resource_writes):
        with pytest.raises(DryRunViolation, match="another connection"):
            await rehearse(pooled, command)
    async with pooled.connect() as connection:
        await connection.execute(insert(NOTES).values(text="the pool is writable"))
        await connection.commit()

    assert ["the pool is writable"] == await saved(direct)


@pytest.mark.parametrize("role", ["mine", "migrations"])
async def test_a_connection_with_another_role_is_read_only(database: Database, role: str) -> None:
    """In a dry run, only the framework's own records may be written."""

    async def connects(_: WorkTransaction, database: Database) -> None:
        async with database.connect(role) as connection:
            await connection.execute(text(WRITE))
            await connection.commit()

    with pytest.raises(DryRunViolation, match="another connection"):
        await rehearse(database, connects, swallow=True)

    assert [] == await saved(database)


async def test_a_transaction_for_a_commit_within_a_dry_run_is_read_only(postgres_url: str) -> None:
    """Its role, the name of a lock, may equal a role of the framework."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()

    async def nested(_: WorkTransaction, database: Database) -> None:
        async with begin_work(database, Mode.COMMIT, role="audit") as work:
            await work.session.execute(text(WRITE))
            await work.commit()

    with pytest.raises(DryRunViolation, match="another connection"):
        await rehearse(database, nested, swallow=True)

    assert [] == await saved(database)


async def test_the_file_of_another_engine_can_not_be_made_writable(sqlite_url: str) -> None:
    """PRAGMA query_only=OFF is refused in SQL and in a script on the driver."""
    database = Database(parse_database_url(sqlite_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()
    engine = create_async_engine(database.url.sqlalchemy(), poolclass=NullPool)

    with pytest.raises(CommandError, match="another connection"):
        async with protected_work(database, Mode.READ_ONLY), engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.executescript(f"PRAGMA query_only=OFF; {WRITE}")
    await engine.dispose()

    assert [] == await saved(database)


def write_in_a_thread(url: str) -> list[BaseException]:
    """Write through an engine in a thread without context; return the errors."""
    raised: list[BaseException] = []

    def write() -> None:
        engine = create_engine(url)
        try:
            with engine.begin() as connection:
                connection.execute(text(WRITE))
        except Exception as exc:  # noqa: BLE001 - returned to the test
            raised.append(exc)
        engine.dispose()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    return raised


async def test_a_process_wide_protection_includes_threads(sqlite_url: str) -> None:
    """A thread without the run's context is protected until the run ends."""
    database = Database(parse_database_url(sqlite_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()

    with read_only_engines(Mode.ROLLBACK, process_wide=True) as protection:
        raised = write_in_a_thread(sqlite_url)
    again = write_in_a_thread(sqlite_url)

    assert (1, True, []) == (len(raised), protection.refused is not None, again)
