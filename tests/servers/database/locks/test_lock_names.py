"""Names of locks in application_name, and locks of SQLite files that have several names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import ConfigurationError
from oneoff.database.engine import Database
from oneoff.database.locks.acquire import (
    acquire,
    describe_holder,
    hold_both,
    is_free,
    make_lock,
)
from oneoff.database.roles import lock_role


def open_database(url: str, run_id: str) -> Database:
    """Open a database as one run."""
    return Database(parse_database_url(url, Path(), "shop"), run_id=run_id)


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    """Open a PostgreSQL database."""
    database = open_database(postgres_url, "ours")
    yield database
    await database.dispose()


async def ask(database: Database, sql: str) -> Any:
    """Run a query on another connection, and return its only value."""
    async with database.connect("look") as connection:
        return (await connection.exec_driver_sql(sql)).scalar_one()


@pytest.mark.parametrize(
    "key", ["migrations", "the-monthly-report-of-all-the-regions", "reports/daily", "größe"]
)
async def test_a_lock_stays_busy_while_a_statement_of_its_killed_holder_runs(
    postgres: Database, postgres_url: str, key: str
) -> None:
    """The server goes on with the statement, although the holder's lock is released."""
    # As long as a real id, because the server cuts off long names.
    run_id = "20260131T093000-0123456789"
    dead = open_database(postgres_url, run_id)
    lock = make_lock(postgres, key)
    async with dead.connect(lock_role(key)) as connection:
        statement = asyncio.create_task(_run_forever(connection))
        await _until_active(postgres, f"oneoff/{lock_role(key)}/{run_id}")

        async with postgres.connect("look") as look:
            while_it_works = await lock.try_acquire(), await describe_holder(lock, look)
        await ask(postgres, _CANCEL.format(f"oneoff/{lock_role(key)}/{run_id}"))
        await statement
    afterwards = (await acquire(lock, wait=10)).key
    await lock.release()
    await dead.dispose()

    assert ((False, f"run {run_id}"), key) == (while_it_works, afterwards)


async def test_a_lock_whose_killed_holder_still_works_is_not_taken_with_the_lock_of_a_run(
    postgres: Database, postgres_url: str
) -> None:
    """The run holds its own lock nevertheless, and nothing of the other one."""
    dead = open_database(postgres_url, "dead")
    role = lock_role("migrations")
    async with dead.connect(role) as working, postgres.connect("audit") as ours:
        statement = asyncio.create_task(_run_forever(working))
        await _until_active(postgres, f"oneoff/{role}/dead")

        taken = await hold_both(ours, postgres, "run:ours", "migrations")
        async with postgres.connect("look") as look:
            free = [await is_free(look, postgres, key) for key in ("run:ours", "migrations")]
        await ask(postgres, _CANCEL.format(f"oneoff/{role}/dead"))
        await statement
    await dead.dispose()

    assert (None, [False, True]) == (taken, free)


@pytest.mark.parametrize("key", ["audit", "schema", "lock", "work"])
async def test_a_lock_may_have_the_name_of_a_role(postgres: Database, key: str) -> None:
    """Connections of other runs in this role must not make the lock busy."""
    lock = make_lock(postgres, key)
    other = Database(postgres.url, run_id="theirs")
    async with other.connect(key) as connection:
        statement = asyncio.create_task(_run_forever(connection))
        await _until_active(postgres, f"oneoff/{key}/theirs")

        taken = await lock.try_acquire()
        await ask(postgres, _CANCEL.format(f"oneoff/{key}/theirs"))
        await statement
    await lock.release()
    await other.dispose()

    assert taken


@pytest.mark.parametrize("link", ["link.sqlite3", "folder/../shop.sqlite3"])
async def test_a_link_to_a_sqlite_file_has_the_same_lock(tmp_path: Path, link: str) -> None:
    """Even if `..` follows a link to a folder."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "shop.sqlite3").touch()
    (tmp_path / "link.sqlite3").symlink_to(tmp_path / "data" / "shop.sqlite3")
    (tmp_path / "folder").symlink_to(tmp_path / "data" / "deep")
    direct = make_lock(open_database(f"sqlite:///{tmp_path}/data/shop.sqlite3", "ours"), "one")
    linked = make_lock(open_database(f"sqlite:///{tmp_path}/{link}", "theirs"), "one")

    assert await direct.try_acquire()
    assert not await linked.try_acquire()
    await direct.release()


async def test_a_sqlite_file_with_two_hard_links_is_refused(tmp_path: Path) -> None:
    """Each name would have its own lock file."""
    (tmp_path / "shop.sqlite3").touch()
    (tmp_path / "other.sqlite3").hardlink_to(tmp_path / "shop.sqlite3")

    with pytest.raises(ConfigurationError, match=r"other\.sqlite3 has 2 names"):
        make_lock(open_database(f"sqlite:///{tmp_path}/other.sqlite3", "ours"), "one")


_CANCEL = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name = '{}'"


async def _run_forever(connection: Any) -> None:
    from sqlalchemy.exc import DBAPIError

    with pytest.raises(DBAPIError, match="canceling statement"):
        await connection.exec_driver_sql("SELECT pg_sleep(600)")


async def _until_active(database: Database, name: str) -> None:
    active = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE application_name = '{name}' AND state = 'active' AND query LIKE '%pg_sleep%'"
    )
    async with asyncio.timeout(30):
        while not await ask(database, active):
            pass
