"""The ready-made probes on a real server: when they delay the next batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from oneoff import Throttle
from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.services.batch.probes import (
    ActiveConnections,
    Autovacuum,
    BatchTime,
    LockWaiters,
    ProbeDenied,
    ProbeTableNotFound,
    ReplicaLag,
)
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.servers import Postgres, running_standby
from tests.support.tally_project import NAME, ROOT, execute, make_tally, times_done, until

ROWS = 100


@pytest.fixture
def url(migrated_postgres: str, postgres_server: Postgres) -> Iterator[str]:
    """Return the URL of a migrated database with the tally table."""
    with postgres_server.database(migrated_postgres) as name:
        make_tally(postgres_server.url(name), ROWS)
        yield postgres_server.url(name)


@pytest.fixture
def tally(url: str) -> Manage:
    """Run command lines of the tally's project."""
    return Manage(NAME, str(ROOT), {"DATABASE_URL": url, "ENVIRONMENT": "test"})


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Connect as a run does."""
    database = Database(parse_database_url(url, Path(), "shop"), run_id="test")
    yield database
    await database.dispose()


async def note_starts_with(connection: asyncpg.Connection, beginning: str) -> None:
    """Wait until the note of the batch starts with a text."""
    sql = "SELECT count(*) FROM oneoff_batches WHERE note LIKE $1 || '%'"
    async with asyncio.timeout(60):
        while not await connection.fetchval(sql, beginning):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.02)


async def session_waits(connection: asyncpg.Connection) -> None:
    """Wait until a session has waited for a lock long enough to count."""
    sql = "SELECT count(*) FROM pg_locks WHERE waitstart < clock_timestamp() - interval '0.1s'"
    async with asyncio.timeout(60):
        while not await connection.fetchval(sql):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.02)


async def test_a_cleanup_waits_while_another_session_waits_for_a_lock(
    url: str, manage_project: tuple[str, str]
) -> None:
    """It shows the reason, and continues when no session waits any more."""
    manage = Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})
    execute(url, "INSERT INTO events (at, kind) VALUES (now() - interval '1 year', 'x')")
    holder, waiter = await asyncpg.connect(url), await asyncpg.connect(url)
    await holder.execute("BEGIN; LOCK TABLE role_counts")
    waiting = asyncio.create_task(
        waiter.execute("BEGIN; SELECT FROM events; LOCK TABLE role_counts; COMMIT")
    )
    await session_waits(holder)
    cleaning = asyncio.create_task(manage("data cleanup --only events --confirm"))
    await note_starts_with(holder, "throttled: lock_waiters 1 > 0")
    held_up = query(url, "SELECT count(*) FROM events")
    await holder.execute("COMMIT")
    await waiting
    done = await cleaning
    await holder.close()
    await waiter.close()

    assert ([(1,)], 0, 1) == (held_up, done.exit_code, done.rows), done.stderr
    assert 1 == done.stderr.count("throttled: lock_waiters 1 > 0\n")


async def test_sessions_that_wait_for_other_tables_are_not_counted(
    url: str, database: Database
) -> None:
    """Only sessions that lock the table, or wait for a lock on it."""
    holder, waiter = await asyncpg.connect(url), await asyncpg.connect(url)
    await holder.execute("BEGIN; LOCK TABLE role_counts")
    waiting = asyncio.create_task(waiter.execute("BEGIN; LOCK TABLE role_counts; COMMIT"))
    await session_waits(holder)
    async with database.connect() as connection:
        anywhere = await LockWaiters().reason(connection)
        there = await LockWaiters("role_counts").reason(connection)
        elsewhere = await LockWaiters("tally").reason(connection)
    await holder.execute("COMMIT")
    await waiting
    await holder.close()
    await waiter.close()

    assert ("lock_waiters 1 > 0", "lock_waiters 1 > 0", None) == (anywhere, there, elsewhere)


async def test_a_cleanup_waits_for_a_standby_server_that_replays_nothing(
    url: str, postgres_server: Postgres, manage_project: tuple[str, str]
) -> None:
    """The terminal and `batch show` have the reason; it continues when the lag is gone."""
    manage = Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})
    with running_standby(postgres_server) as standby:
        standby.pause()
        execute(url, "INSERT INTO events (at, kind) VALUES (now() - interval '1 year', 'x')")
        await until(url, "SELECT max(replay_lag) > interval '2s' FROM pg_stat_replication")
        cleaning = asyncio.create_task(manage("data cleanup --only events --confirm"))
        # The lag grows, but the message is shown only once.
        await until(url, "SELECT max(note) ~ '^throttled: replica_lag [3-9]' FROM oneoff_batches")
        shown = await manage("batch show 2")
        held_up = query(url, "SELECT count(*) FROM events")
        standby.resume()
        done = await cleaning

    assert "note           throttled: replica_lag " in shown.stdout
    assert ([(1,)], 0, 1) == (held_up, done.exit_code, done.rows), done.stderr
    assert 1 == done.stderr.count("throttled: replica_lag "), done.stderr


async def test_a_batch_waits_until_autovacuum_is_done_with_its_table(
    tally: Manage, url: str, postgres_server: Postgres
) -> None:
    """Settings force the server's own autovacuum to start."""
    active = "SELECT count(*) > 0 FROM pg_stat_progress_vacuum WHERE relid = 'tally'::regclass"
    many, said = 20_000, "throttled: autovacuum works on tally"
    soon, slow = "autovacuum_vacuum_threshold = 0", "autovacuum_vacuum_cost_delay = 100"
    often = "autovacuum_vacuum_scale_factor = 0"
    postgres_server.psql("ALTER SYSTEM SET autovacuum_naptime = 1; SELECT pg_reload_conf()")
    execute(url, f"ALTER TABLE tally SET ({soon}, {often}, {slow}, autovacuum_vacuum_cost_limit=1)")
    execute(url, f"INSERT INTO tally SELECT x, 0, 0 FROM generate_series({ROWS + 1}, {many}) AS x")
    execute(url, "UPDATE tally SET age = 0")  # as many dead rows, and pages to pause at
    await until(url, active)
    running = asyncio.create_task(tally("tally lagging --confirm"))
    await until(url, f"SELECT max(note) = '{said}' FROM oneoff_batches")
    held_up = times_done(url)
    postgres_server.psql("ALTER SYSTEM RESET autovacuum_naptime; SELECT pg_reload_conf()")
    execute(
        url, "ALTER TABLE tally SET (autovacuum_enabled = false)"
    )  # the server cancels its autovacuum
    done = await running

    assert ({0: many}, 0, {1: many}) == (held_up, done.exit_code, times_done(url)), done.stderr
    assert 1 == done.stderr.count(f"{said}\n"), done.stderr


async def test_a_batch_waits_for_a_standby_server(tally: Manage, url: str) -> None:
    """The terminal and `batch show` have the reason; it continues when the lag is gone."""
    execute(url, "UPDATE tally SET age = 42 WHERE id = 1")
    looking = await asyncpg.connect(url)
    running = asyncio.create_task(tally("tally lagging --confirm"))
    await note_starts_with(looking, "throttled: replica_lag 42.0s > 2s")
    shown = await tally("batch show 2")
    await looking.execute("UPDATE tally SET age = 0 WHERE id = 1")
    done = await running
    await looking.close()

    assert "throttled: replica_lag 42.0s > 2s" in shown.stdout
    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr
    assert 1 == done.stderr.count("throttled: replica_lag 42.0s > 2s\n")


async def test_a_probe_that_fails_is_removed_with_a_warning(tally: Manage, url: str) -> None:
    """The batch continues."""
    done = await tally("tally lagging --column no_such_column --confirm")

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr
    assert 1 == done.stderr.count("warning: the probe replica_lag is not used in this run: ")
    assert "no_such_column" in done.stderr


@pytest.mark.parametrize(
    "probe",
    [
        ReplicaLag(),
        LockWaiters("tally"),
        ActiveConnections(10),
        Autovacuum("tally"),
        BatchTime(0.5),
    ],
    ids=lambda probe: type(probe).__name__,
)
async def test_on_an_idle_server_no_probe_has_a_reason_to_wait(
    probe: Throttle, database: Database
) -> None:
    """The server accepts each statement."""
    async with database.connect() as connection:
        assert await probe.reason(connection) is None


@pytest.mark.parametrize("table", ["Tally", "Mixed.Tally Sheet", "parted", "tally"])
@pytest.mark.parametrize("kind", [Autovacuum, LockWaiters])
async def test_a_probe_sees_locks_on_a_table_of_any_name(
    kind: type[Autovacuum | LockWaiters], table: str, url: str, database: Database
) -> None:
    """With upper case, spaces or a schema, and on the partitions of a table."""
    execute(
        url,
        """CREATE TABLE "Tally" (id int); CREATE SCHEMA "Mixed";
        CREATE TABLE "Mixed"."Tally Sheet" (id int);
        CREATE TABLE parted (id int) PARTITION BY LIST (id);
        CREATE TABLE part PARTITION OF parted DEFAULT""",
    )
    names = {"Tally": '"Tally"', "parted": "part", "tally": "tally"}
    name = names.get(table, '"Mixed"."Tally Sheet"')
    holder, waiter = await asyncpg.connect(url), await asyncpg.connect(url)
    await holder.execute(f"BEGIN; LOCK TABLE {name}")
    waiting = asyncio.create_task(waiter.execute(f"BEGIN; LOCK TABLE {name}"))
    await session_waits(holder)

    async with database.connect() as connection:
        seen = await kind(table).reason(connection)
    waiting.cancel()
    holder.terminate()
    waiter.terminate()

    # Autovacuum itself can't be started for a test; the table is found, and nothing vacuums it.
    assert (None if kind is Autovacuum else "lock_waiters 1 > 0") == seen


@pytest.mark.parametrize("probe", [Autovacuum("TALLY"), LockWaiters("no_such"), LockWaiters("a.b")])
async def test_a_table_that_does_not_exist_is_an_error(
    probe: Autovacuum | LockWaiters, database: Database
) -> None:
    """The probe would never delay a batch."""
    async with database.connect() as connection:
        with pytest.raises(ProbeTableNotFound, match=re.escape(f"the table {probe.table!r}")):
            await probe.reason(connection)


async def test_a_batch_with_a_wrong_table_in_its_probes_does_not_start(
    tally: Manage, url: str
) -> None:
    """It is not a warning, which a nightly run would hide."""
    done = await tally("tally lagging --column id --watched Tally --confirm")

    assert (1, {0: ROWS}) == (done.exit_code, times_done(url))
    assert "error[probe-table-not-found]: the probe autovacuum watches the table 'Tally'" in (
        done.stderr
    )


async def test_active_sessions_are_counted(url: str, database: Database) -> None:
    """Except the session of the probe."""
    busy = await asyncpg.connect(url)
    sleeping = asyncio.create_task(busy.execute("SELECT pg_sleep(60)"))
    async with database.connect() as connection, asyncio.timeout(60):
        while not (said := await ActiveConnections(0).reason(connection)):
            await asyncio.sleep(0.02)
            await connection.rollback()
    sleeping.cancel()
    busy.terminate()

    assert "active_connections 1 > 0" == said


async def test_a_role_without_permission_is_an_error_of_the_probe(url: str) -> None:
    """Rows that it can't see do not count as no reason to wait."""
    execute(url, "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN PASSWORD 'x'")
    other = await asyncpg.connect(url)
    address, _, name = url.rpartition("@")[2].partition("/")
    restricted = Database(
        parse_database_url(f"postgres://blind:x@{address}/{name}", Path(), "shop"), run_id="test"
    )
    async with restricted.connect() as connection:
        with pytest.raises(ProbeDenied, match="pg_read_all_stats"):
            await ActiveConnections(10).reason(connection)
        waiters = await LockWaiters("tally").reason(connection)
    await restricted.dispose()
    await other.close()

    assert waiters is None


class Answer:
    """A fake connection whose statements return one given row."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self, *row: Any) -> None:
        self._row = row

    async def execute(self, _statement: object) -> Answer:
        """Accept any statement."""
        return self

    def one(self) -> tuple[Any, ...]:
        """Return the row."""
        return self._row


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((None, None, 0), None),
        ((1.9, 0, 0), None),
        ((4.21, 0, 0), "replica_lag 4.2s > 2s"),
        ((None, 300 * 2**20, 0), "replica_lag 300MiB > 256MiB"),
    ],
)
async def test_the_lag_of_a_standby_is_in_time_or_in_bytes(row: tuple[Any, ...], said: Any) -> None:
    """A standby that has stopped replaying lags only in bytes."""
    connection: Any = Answer(*row)

    assert said == await ReplicaLag().reason(connection)


async def test_standby_servers_that_the_role_can_not_see_are_an_error() -> None:
    """The server returns their rows with NULLs."""
    connection: Any = Answer(None, None, 1)

    with pytest.raises(ProbeDenied, match="pg_monitor"):
        await ReplicaLag().reason(connection)


async def test_after_a_wait_only_new_batches_count_as_slow() -> None:
    """Otherwise the first slow batches would delay the run indefinitely."""
    probe, connection = BatchTime(0.5, rest=0.05), Answer()
    anyone: Any = connection
    for _ in range(20):
        probe.record(0.9)

    held = [await probe.reason(anyone), await probe.reason(anyone)]
    await asyncio.sleep(0.06)

    assert ["batch_p95 0.9s > 0.5s"] * 2 == held
    assert await probe.reason(anyone) is None
