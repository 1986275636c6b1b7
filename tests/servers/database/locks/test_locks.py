"""A lock has one holder at a time, and none after the holder's process died."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import ConfigurationError, LockBusy, LockLost
from oneoff.database.engine import Database
from oneoff.database.locks.acquire import (
    acquire,
    describe_holder,
    hold_both,
    hold_for_transaction,
    is_free,
    make_lock,
)
from oneoff.database.locks.base import Lock
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.database.tables import runs

ROOT = Path(__file__).parents[4]
HOLD = """
import asyncio, sys
from pathlib import Path
from oneoff.database.locks.acquire import make_lock
from oneoff.database.engine import Database
from oneoff.config.database_url import parse_database_url

async def main():
    url = parse_database_url(sys.argv[1], Path(), "shop")
    lock = make_lock(Database(url, run_id="theirs"), "migrations")
    assert await lock.try_acquire()
    print("held", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def open_database(url: str, run_id: str) -> Database:
    """Open a database as one run."""
    return Database(parse_database_url(url, Path(), "shop"), run_id=run_id)


@pytest.fixture
async def ours(database_url: str) -> AsyncIterator[Database]:
    """Open the database as one run."""
    database = open_database(database_url, "ours")
    yield database
    await database.dispose()


@pytest.fixture
async def theirs(database_url: str) -> AsyncIterator[Database]:
    """Open the same database as another run."""
    database = open_database(database_url, "theirs")
    yield database
    await database.dispose()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    """Open a PostgreSQL database."""
    database = open_database(postgres_url, "ours")
    yield database
    await database.dispose()


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def lock_files(database: Database) -> list[Path]:
    """Return the lock file next to a SQLite database, if it exists."""
    return [path for path in [Path(f"{database.url.database}.locks")] if path.exists()]


async def ask(database: Database, sql: str) -> Any:
    """Run a query as another client, and return its only value."""
    async with database.connect("look") as connection:
        return (await connection.exec_driver_sql(sql)).scalar_one()


async def test_only_one_run_holds_a_lock(ours: Database, theirs: Database) -> None:
    """A second run can't take it until the first one releases it."""
    first, second = make_lock(ours, "migrations"), make_lock(theirs, "migrations")

    taken = [await first.try_acquire(), await second.try_acquire()]
    await first.release()
    taken.append(await second.try_acquire())
    await second.release()

    assert [True, False, True] == taken


async def test_two_keys_do_not_exclude_each_other(ours: Database, theirs: Database) -> None:
    """Each key is a separate lock."""
    first, second = make_lock(ours, "migrations"), make_lock(theirs, "cleanup")

    taken = [await first.try_acquire(), await second.try_acquire()]
    await first.release()
    await second.release()

    assert [True, True] == taken


async def test_a_waiting_run_takes_a_released_lock(ours: Database, theirs: Database) -> None:
    """It polls, and reports once that it is waiting."""
    held = await acquire(make_lock(ours, "migrations"), wait=0)
    told: list[str] = []

    async def sleep(_seconds: float) -> None:
        await held.release()

    waiter = make_lock(theirs, "migrations")
    got = await acquire(waiter, wait=60, on_wait=lambda: told.append("waiting"), sleep=sleep)
    await got.check()
    await got.release()

    assert ["waiting"] == told


async def test_after_the_wait_the_error_names_the_holder(ours: Database, theirs: Database) -> None:
    """The holder is described with facts from the runs table."""
    await ensure_schema(ours)
    await _record(ours)
    held = await acquire(make_lock(ours, "migrations"), wait=0)
    clock = Clock()

    with pytest.raises(LockBusy) as caught:
        await acquire(make_lock(theirs, "migrations"), wait=5, clock=clock, sleep=clock.sleep)
    await held.release()

    message = "the lock 'migrations' is held by run ours (db migrate, by ada on web-1)"
    assert message == caught.value.message
    assert 5 == sum(clock.pauses)


async def _record(database: Database) -> None:
    async with database.connect("audit") as connection:
        row = {
            "id": "ours",
            "command": "db migrate",
            "argv": "[]",
            "access": "write",
            "dry_run": False,
            "status": "started",
            "operator": "ada",
            "operator_source": "setting",
            "environment": "test",
            "host": "web-1",
            "pid": os.getpid(),
            "started_at": datetime.now(UTC),
        }
        await connection.execute(insert(runs).values(row))
        await connection.commit()


async def test_a_free_lock_has_no_holder(ours: Database) -> None:
    """Asking for the holder takes no lock and creates no file."""
    lock = make_lock(ours, "migrations")

    async with ours.connect("look") as connection:
        described = await describe_holder(lock, connection)

    assert "" == described
    assert [] == lock_files(ours)


async def test_checking_a_lock_that_is_not_held_fails(ours: Database) -> None:
    """Work must not continue without its lock."""
    with pytest.raises(LockLost):
        await make_lock(ours, "migrations").check()


async def test_the_lock_of_a_killed_process_is_released(database_url: str, ours: Database) -> None:
    """After SIGKILL, nothing has to be cleaned up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLD,
        database_url,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert b"held\n" == await process.stdout.readline()
    lock = make_lock(ours, "migrations")
    before = await lock.try_acquire()

    process.kill()
    await process.wait()
    held = await acquire(lock, wait=10)
    await held.release()

    assert before is False


async def test_a_live_run_holds_the_lock_of_its_id(ours: Database, theirs: Database) -> None:
    """The lock lasts exactly as long as the transaction that marks the run as alive."""
    async with ours.connect("audit") as marker, theirs.connect("audit") as looker:
        await hold_for_transaction(marker, ours, "run:1")
        while_alive = await is_free(looker, theirs, "run:1")
        await looker.rollback()
        # On SQLite, the statement that closes the run's row begins a transaction.
        await marker.exec_driver_sql("SELECT 1")
        await marker.commit()
        afterwards = await is_free(looker, theirs, "run:1")

    assert (False, True) == (while_alive, afterwards)


async def test_a_held_lock_has_no_snapshot(postgres: Database) -> None:
    """CREATE INDEX CONCURRENTLY would wait for a snapshot indefinitely."""
    held = await acquire(make_lock(postgres, "migrations"), wait=0)
    await held.check()

    xmin = await ask(postgres, _XMIN.format("oneoff/lock/%"))
    await held.release()

    assert xmin is None


async def test_without_a_further_statement_the_snapshot_is_kept(postgres: Database) -> None:
    """The SET LOCAL of the lock is necessary."""
    async with postgres.connect("naive") as connection:
        await connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(1)")

        assert await ask(postgres, _XMIN.format("oneoff/naive/%")) is not None


async def test_the_lock_of_a_live_run_has_a_snapshot_only_within_one_message(
    postgres: Database,
) -> None:
    """CREATE INDEX CONCURRENTLY waits even for transactions that dropped their snapshot."""
    sent: list[str] = []
    async with postgres.connect("audit") as marker:
        driver: Any = (await marker.get_raw_connection()).driver_connection
        with driver.query_logger(lambda record: sent.append(record.query)):
            await hold_for_transaction(marker, postgres, "run:1")
            await asyncio.sleep(0)  # the logger is called by the loop

    (taking,) = [query for query in sent if "pg_try_advisory_xact_lock" in query]
    assert "SET LOCAL idle_in_transaction_session_timeout = 0" in taking


async def test_an_index_is_built_concurrently_while_other_runs_hold_their_locks(
    postgres: Database, postgres_url: str
) -> None:
    """One has the lock of its command together with its own, the other one did not get it."""
    other, sent = open_database(postgres_url, "other"), list[str]()
    async with (
        postgres.autocommit("setup") as connection,
        postgres.connect("audit") as first,
        other.connect("audit") as second,
    ):
        await connection.exec_driver_sql("CREATE TABLE item (n integer)")
        driver: Any = (await first.get_raw_connection()).driver_connection
        with driver.query_logger(lambda record: sent.append(record.query)):
            held = await hold_both(first, postgres, "run:1", "migrations")
            await asyncio.sleep(0)  # the logger is called by the loop
        busy = await hold_both(second, other, "run:2", "migrations")

        async with asyncio.timeout(10):
            await connection.exec_driver_sql("CREATE INDEX CONCURRENTLY ON item (n)")
    await other.dispose()

    assert held is not None
    assert busy is None
    assert 1 == len([query for query in sent if "advisory" in query])


_XMIN = "SELECT backend_xmin FROM pg_stat_activity WHERE application_name LIKE '{}'"


async def test_with_repeatable_read_a_held_lock_has_no_snapshot(postgres: Database) -> None:
    """REPEATABLE READ may be the default, and would keep the first snapshot."""
    async with postgres.autocommit("setup") as connection:
        await connection.exec_driver_sql(
            f'ALTER DATABASE "{postgres.url.database}" '
            "SET default_transaction_isolation = 'repeatable read'"
        )
    held = await acquire(make_lock(postgres, "migrations"), wait=0)

    xmin = await ask(postgres, _XMIN.format("oneoff/lock/%"))
    await held.release()

    assert xmin is None


async def test_a_broken_connection_loses_the_lock(postgres: Database) -> None:
    """The check fails before the next step of the work."""
    held = await acquire(make_lock(postgres, "migrations"), wait=0)
    await ask(postgres, _TERMINATE.format("oneoff/lock/%"))

    with pytest.raises(LockLost):
        await held.check()
    await held.release()


_TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE '{}'"
)


async def test_an_idle_connection_of_an_earlier_run_is_not_an_orphan(
    postgres: Database, postgres_url: str
) -> None:
    """A pooler keeps server connections and their names after the client disconnected."""
    older = open_database(postgres_url, "older")
    lock = make_lock(postgres, "migrations")
    async with older.autocommit("migrations") as connection:
        await connection.exec_driver_sql("SELECT 1")
        taken = await lock.try_acquire()
        await lock.release()
    await older.dispose()

    assert taken


async def test_the_lock_works_behind_a_pooler(postgres: Database, pgbouncer_url: str) -> None:
    """In transaction mode, it has one holder too, and can be released."""
    ours, theirs = open_database(pgbouncer_url, "a"), open_database(pgbouncer_url, "b")
    first, second = make_lock(ours, "migrations"), make_lock(theirs, "migrations")
    direct = make_lock(postgres, "migrations")

    taken = [await lock.try_acquire() for lock in (first, second, direct)]
    async with theirs.connect("look") as connection:
        holder = await describe_holder(second, connection)
    await first.check()
    await first.release()
    got = await acquire(second, wait=10)
    await got.release()
    await direct.release()
    await ours.dispose()
    await theirs.dispose()

    assert [True, False, False] == taken
    assert "run a" == holder


async def test_removing_the_lock_file_loses_the_lock(sqlite_url: str) -> None:
    """Another process could take the lock in a new file."""
    database = open_database(sqlite_url, "ours")
    held = await acquire(make_lock(database, "migrations"), wait=0)
    os.unlink(f"{database.url.database}.locks")  # noqa: PTH108 - a single call, blocking or not

    with pytest.raises(LockLost):
        await held.check()
    await held.release()


async def test_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    """The message names the file."""
    database = open_database(f"sqlite:///{tmp_path}/missing/test.sqlite3", "ours")
    lock: Lock = make_lock(database, "migrations")

    with pytest.raises(ConfigurationError, match=r"missing/test\.sqlite3\.locks"):
        await lock.try_acquire()
