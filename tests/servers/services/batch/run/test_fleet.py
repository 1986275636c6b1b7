"""`--fleet`: workers process the shards that are open in the database; the command waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.project import project as shop
from oneoff import Result
from oneoff.services.batch.run import fleet
from oneoff.services.jobs.shard_queue import NAME as FUNCTION
from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser
from tests.support.servers import Postgres, Proxy
from tests.support.tally_fleet import queue, work_off, worker
from tests.support.tally_project import (
    NAME,
    PATIENCE,
    ROOT,
    execute,
    make_tally,
    rows_of_runs,
    times_done,
    until,
)

if TYPE_CHECKING:
    from arq.connections import ArqRedis

ROWS = 1_000
FLEET = "tally add --shards 4 --fleet --confirm"
PARENT = "SELECT id FROM oneoff_batches WHERE parent = ''"
Work = Callable[[], Any]


@pytest.fixture
def environ(manage_environ: dict[str, str], redis_url: str) -> dict[str, str]:
    """Return the variables of a migrated PostgreSQL with the tally table, and an empty Redis."""
    make_tally(manage_environ["DATABASE_URL"], ROWS)
    return {**manage_environ, "REDIS_URL": redis_url}


@pytest.fixture
def manage_environ(postgres_server: Postgres, migrated_postgres: str) -> Any:
    """Run `manage` only on PostgreSQL."""
    with postgres_server.database(migrated_postgres) as name:
        yield {
            "DATABASE_URL": postgres_server.url(name),
            "ENVIRONMENT": "test",
            "OPERATOR": "tester",
            "LOG_LEVEL": "error",
        }


@pytest.fixture
def url(environ: dict[str, str]) -> str:
    """Return the database's URL."""
    return environ["DATABASE_URL"]


@pytest.fixture
def tally(environ: dict[str, str]) -> Manage:
    """Run command lines of the tally's project."""
    return Manage(NAME, str(ROOT), environ)


async def interrupted(running: Coroutine[Any, Any, Finished], event: Awaitable[None]) -> Finished:
    """Interrupt a run after an event."""
    task = asyncio.create_task(running)
    await event
    task.cancel()
    return await task


async def until_queued(pool: ArqRedis, jobs: int) -> None:
    """Wait until the queue has at least this number of jobs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await pool.zcard(pool.default_queue_name) >= jobs:
                return
            await asyncio.sleep(0.02)


async def test_workers_do_every_row_once(environ: dict[str, str], tally: Manage, url: str) -> None:
    """The result counts all rows; each row is in the record of the run that processed it."""
    async with worker(environ):
        done = await tally(f"{FLEET} --ticket T-1")

    assert (0, ROWS, {1: ROWS}) == (done.exit_code, done.rows, times_done(url)), done.stderr
    assert "changed 1,000 rows in 4 shards\n" == done.stdout
    assert f"workers process {query(url, PARENT)[0][0]} in 4 shards\n" in done.stderr
    supervisor, *workers = query(
        url,
        "SELECT id, parent, argv, rows, status, operator, operator_source, ticket "
        "FROM oneoff_runs WHERE command = 'tally add' ORDER BY started_at",
    )
    assert ("", 0, "succeeded") == (supervisor[1], supervisor[3], supervisor[4])
    assert [
        (supervisor[0], ["tally", "add", "--shard", f"{n}/4"], 250, "succeeded")
        for n in range(1, 5)
    ] == sorted((run[1], json.loads(run[2]), run[3], run[4]) for run in workers)
    assert {("tester", "parent-run", "T-1")} == {run[5:] for run in workers}


async def test_a_job_that_is_delivered_twice_processes_each_row_once(
    environ: dict[str, str],
    tally: Manage,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it is delivered while its shard is active, and after the shard has ended."""
    brake = tmp_path / "brake"
    brake.touch()
    monkeypatch.setenv("TALLY_BRAKE", str(brake))
    async with worker(environ), queue(environ) as pool:
        running = asyncio.create_task(tally("tally add --shards 2 --fleet --slow 0.5 --confirm"))
        await until(url, "SELECT count(*) = 2 FROM oneoff_batches WHERE fence = 1 AND parent <> ''")
        parent = query(url, PARENT)[0][0]
        for number in (1, 2, 1, 2):
            await pool.enqueue_job(FUNCTION, f"{parent}.{number}/2")
        brake.unlink()
        done = await running
        await pool.enqueue_job(FUNCTION, f"{parent}.1/2")
        await work_off(environ)

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr
    assert [0, 500, 500] == sorted(row or 0 for row in rows_of_runs(url))


@pytest.mark.parametrize("shard", ["{}.1/4", "{}", "nothing", ""])
async def test_a_job_processes_only_shards_that_were_confirmed_for_workers(
    environ: dict[str, str], tally: Manage, url: str, shard: str
) -> None:
    """Anyone who can write to Redis can't start other work."""
    await tally("tally add --shards 4 --max-rows 100 --confirm")
    parent = query(url, PARENT)[0][0]

    async with queue(environ) as pool:
        await pool.enqueue_job(FUNCTION, shard.format(parent))
    await work_off(environ)

    assert {0: ROWS - 100, 1: 100} == times_done(url)
    assert [100] == rows_of_runs(url)


async def test_the_gate_refuses_a_worker_in_another_environment(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """The confirmed target is not the target of the worker."""
    async with worker(environ, ENVIRONMENT="production"):
        refused = await tally(FLEET)

    assert 77 == refused.exit_code, refused.stderr
    assert "error[shard-failed]: shard 1/4 failed: " in refused.stderr
    assert {0: ROWS} == times_done(url)


async def test_the_error_of_a_shard_is_the_error_of_the_supervisor(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """The other shards are finished, and the parent batch is stopped."""
    async with worker(environ):
        failed = await tally("tally check --shards 4 --fleet --confirm")
    open_ = query(url, "SELECT status, confirmed FROM oneoff_batches WHERE parent = ''")

    assert 65 == failed.exit_code, failed.stderr
    assert "error[shard-failed]: shard 1/4 failed: row 7 has no address\n" in failed.stderr
    assert "3 of 4 shards finished" in failed.stderr
    assert ({0: 250, 1: 750}, [("stopped", "")]) == (times_done(url), open_)


async def test_a_command_that_does_not_claim_its_shard_in_a_worker_fails(
    environ: dict[str, str], tally: Manage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the shard would be queued again and again."""

    async def leave(*_: object) -> Result:
        return Result.unchanged("not here")

    monkeypatch.setattr("oneoff.services.batch.run.start._run_assigned_shard", leave)
    async with worker(environ):
        failed = await tally("tally add --shards 2 --fleet --confirm")

    assert 1 == failed.exit_code
    assert "tally add ended in a worker without claiming the shard, and 1 more" in failed.stderr
    assert {0: ROWS} == times_done(url)


async def test_a_supervisor_that_is_started_again_watches_the_same_shards(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """When interrupted, it reports that the workers continue; no row is done twice."""
    line = "tally add --shards 2 --fleet --slow 0.3 --confirm"
    async with worker(environ):
        started = until(url, "SELECT max(rows_done) > 0 FROM oneoff_batches")
        first = await interrupted(tally(line), started)
        second = await tally(line)

    assert 130 == first.exit_code
    parent = query(url, PARENT)[0][0]
    assert f"the workers continue {parent} without this run;" in first.stderr
    assert (0, {1: ROWS}) == (second.exit_code, times_done(url)), second.stderr
    assert ROWS == sum(row or 0 for row in rows_of_runs(url))


async def test_a_fleet_that_ended_without_its_supervisor_is_not_started_again(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """The next supervisor reports that nothing is left to do; the one after it starts again."""
    line = "tally add --shards 2 --fleet --confirm"
    async with queue(environ) as pool:
        first = await interrupted(tally(line), until_queued(pool, 2))
    async with worker(environ):
        await until(url, "SELECT count(*) = 2 FROM oneoff_batches WHERE status = 'finished'")
        told = await tally(line)
        once = times_done(url)
        anew = await tally(line)

    assert (130, 0, "nothing to do\n") == (first.exit_code, told.exit_code, told.stdout)
    assert ({1: ROWS}, ROWS) == (once, anew.rows)


async def test_after_a_turn_another_job_resumes_the_shard(
    environ: dict[str, str], tally: Manage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In between, the worker can take other jobs of the project."""
    monkeypatch.setattr("oneoff.services.batch.run.bounds.TURN", 0.001)
    execute(url, "DELETE FROM tally WHERE id > 400")
    async with worker(environ):
        done = await tally("tally add --shards 2 --fleet --confirm")

    assert (0, 400, {1: 400}) == (done.exit_code, done.rows, times_done(url)), done.stderr
    assert len(rows_of_runs(url)) > 3
    states = {row[0] for row in query(url, "SELECT status FROM oneoff_runs")}
    assert states <= {"succeeded", "unchanged"}


async def test_a_worker_does_not_process_the_batches_of_called_commands(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """Its run processes only its shard, even if `handle` calls another batch command."""
    async with worker(environ):
        done = await tally("tally chained --shards 2 --fleet --confirm")

    assert (0, {2: ROWS}) == (done.exit_code, times_done(url)), done.stderr


async def test_lost_jobs_are_queued_again(
    environ: dict[str, str], tally: Manage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted jobs, expired jobs, and the job of a worker that died before it claimed the shard."""
    monkeypatch.setattr(fleet, "RECHECK", 0.1)
    monkeypatch.setattr(fleet, "LOST_AFTER", 0.2)
    running = asyncio.create_task(tally(FLEET))
    async with queue(environ) as pool:
        await until_queued(pool, 4)
        await pool.flushall()
        await until_queued(pool, 4)
        taken, expired, *_ = await pool.zrange(pool.default_queue_name, 0, 1)
        await pool.set(b"arq:in-progress:" + taken, b"1")
        await pool.zrem(pool.default_queue_name, expired)
        await pool.rename(b"arq:job:" + expired, b"arq:result:" + expired)
    async with worker(environ):
        done = await running

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr


async def test_workers_continue_while_the_supervisor_has_no_redis(
    environ: dict[str, str], url: str, redis_url: str, redis_proxy: Proxy
) -> None:
    """The supervisor queues the other shards when Redis is available again."""
    through = Manage(NAME, str(ROOT), {**environ, "REDIS_URL": redis_proxy.url(redis_url)})
    running = asyncio.create_task(through(FLEET))
    async with queue(environ) as pool:
        await until_queued(pool, 4)
        await pool.flushall()
    redis_proxy.refuse()
    async with worker(environ):
        await asyncio.sleep(2 * fleet.POLL)
        redis_proxy.heal()
        done = await running

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr


async def test_a_fleet_without_a_worker_informs_the_operator(
    environ: dict[str, str], tally: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; then it continues to wait."""
    checks = 0

    class Watched(fleet.Fleet):
        def _say_if_idle(self, *, busy: bool) -> None:
            nonlocal checks
            super()._say_if_idle(busy=busy)
            checks += 1

    monkeypatch.setattr(fleet, "Fleet", Watched)
    monkeypatch.setattr(fleet, "SAY_IDLE_AFTER", 0.0)

    running = asyncio.create_task(tally(FLEET))
    async with asyncio.timeout(PATIENCE):
        while checks < 3:  # noqa: ASYNC110 - the run can't set an event
            await asyncio.sleep(0.02)
    monkeypatch.setattr(fleet, "SAY_IDLE_AFTER", 1_000.0)  # a slow worker must not count as idle
    async with worker(environ):
        done = await running

    assert 0 == done.exit_code, done.stderr
    assert 1 == done.stderr.count("no worker has processed a shard for 0 s"), done.stderr


async def test_cancelling_a_fleet_ends_its_shards_and_its_supervisor(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """The active shards, the queued ones, and the supervisor with exit code 1."""
    execute(url, "UPDATE tally SET age = 500 WHERE id = 1")
    async with worker(environ):
        running = asyncio.create_task(tally("tally careful --shards 4 --fleet --confirm"))
        await until(url, "SELECT count(*) > 1 FROM oneoff_batches WHERE status = 'running'")
        cancelled = await tally(f"batch cancel {query(url, PARENT)[0][0]} --confirm")
        done = await running

    assert (0, 1, {0: ROWS}) == (cancelled.exit_code, done.exit_code, times_done(url))
    assert "error[batch-cancelled]" in done.stderr
    assert [("cancelled", 5)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status"
    )


async def test_the_parts_of_a_command_are_processed_one_after_the_other(
    environ: dict[str, str], tally: Manage, url: str
) -> None:
    """Each with its own limits; a worker processes only the part that its shard belongs to."""
    async with worker(environ):
        done = await tally("tally halves --shards 2 --fleet --confirm")

    assert (0, ROWS, {1: ROWS}) == (done.exit_code, done.rows, times_done(url)), done.stderr


async def test_workers_can_process_a_transform(
    environ: dict[str, str], manage: Manage, make_user: MakeUser, url: str
) -> None:
    """They find the transform by the command line that is the name of its batch."""
    for name in ("ada", "bob", "cleo"):
        await make_user(name)
    execute(url, "UPDATE users SET accept_language = 'de'")

    async with worker(environ, of=shop):
        done = await Manage("app.project:project", str(ROOT), environ)(
            "data transform fill-locale --shards 2 --fleet --confirm"
        )

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    assert [("de",)] == query(url, "SELECT DISTINCT locale FROM users")
