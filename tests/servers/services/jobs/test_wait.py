"""`jobs run --wait` returns the result of the job, or says why there is none."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.exceptions import TimeoutError as RedisTimeout

from oneoff.config.database_url import parse_database_url
from oneoff.services.jobs.queue import Jobs
from oneoff.services.maintenance.redis_copy import key_of
from oneoff.services.maintenance.window import Window, encode
from tests.support.arq_shop import Queue
from tests.support.servers import Proxy


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project on an empty Redis."""
    return Queue(redis_url, tmp_path)


async def open_window(queue: Queue) -> None:
    """Open a maintenance window in Redis, as `system maintenance on` does."""
    address = queue.manage.environ["DATABASE_URL"]
    key = key_of("shop", parse_database_url(address, Path(), "shop"))
    await queue.change("SET", key, encode(Window("w", datetime.now(UTC))))


async def test_waiting_for_an_existing_job_reports_no_change(queue: Queue) -> None:
    """The dry run reports the same. The message shows the arguments of the existing job."""
    await queue.manage("jobs run sum left=2 --job-id one")
    await queue.work()
    line = "jobs run sum left=7 --job-id one --wait"

    again = await queue.manage(f"{line} --json")
    planned = await queue.manage(f"{line} --dry-run --json")

    for run in (again, planned):
        assert (0, False, 0) == (run.exit_code, run.json["changed"], run.rows)
        assert (
            "job one already exists: nothing was queued; sum(left=2) returned 3"
            == (run.json["message"])
        )


async def test_waiting_for_an_existing_job_waits_until_it_ends(queue: Queue) -> None:
    """So repeating the command after a deadline does not succeed before the job has ended."""
    await queue.manage("jobs run sum left=2 --job-id one")
    late = await queue.manage("jobs run sum left=2 --job-id one --wait --timeout 300ms")
    waiting = asyncio.create_task(queue.manage("jobs run sum left=2 --job-id one --wait --json"))
    await queue.work()
    done = await waiting

    assert (75, 0) == (late.exit_code, done.exit_code)
    assert ("one", 3, False) == (
        *(done.json["data"][name] for name in ("id", "result")),
        done.json["changed"],
    )


async def test_waiting_for_an_existing_failed_job_fails(queue: Queue) -> None:
    """The dry run fails too."""
    await queue.manage("jobs run fail --job-id one")
    await queue.work()
    line = "jobs run fail --job-id one --wait"

    real, planned = await queue.manage(line), await queue.manage(f"{line} --dry-run")

    assert (1, 1) == (real.exit_code, planned.exit_code)
    assert "error[job-failed]" in real.stderr
    assert "error[job-failed]" in planned.stderr


async def test_after_a_deadline_the_job_can_be_waited_for_again(queue: Queue) -> None:
    """The error names the option. The same command without it would queue a second job."""
    late = await queue.manage("jobs run sum left=2 --wait --timeout 300ms")

    found = re.search(r"job (\w+) has not ended", late.stderr)
    assert found, late.stderr
    assert f"  try:  add --job-id={found[1]} to wait for this job again" in late.stderr


async def test_an_interrupted_enqueue_reports_the_job_id(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was queued, but no answer came. With its id, a retry queues no second job."""
    put = Jobs.put

    async def broken_off(self: Jobs, job_id: str, raw: bytes, due: int, now: int) -> bool:
        await put(self, job_id, raw, due, now)
        raise RedisTimeout

    monkeypatch.setattr(Jobs, "put", broken_off)
    lost = await queue.manage("jobs run sum left=2")
    monkeypatch.undo()
    found = re.search(r"add --job-id=(\w+) to", lost.stderr)
    assert found, lost.stderr
    again = await queue.manage(f"jobs run sum left=2 --job-id={found[1]}")

    assert 1 == lost.exit_code  # after 69 a scheduler would run it again, without the id
    assert f"job {found[1]} already exists: nothing was queued\n" == again.stdout


async def test_after_a_lost_connection_the_job_can_be_waited_for_again(
    queue: Queue, redis_proxy: Proxy
) -> None:
    """A script that retries after exit code 69 must not queue two jobs."""
    environ = {"REDIS_URL": redis_proxy.url(queue.url)}
    waiting = asyncio.create_task(
        queue.manage("jobs run sum left=2 --job-id one --wait", environ=environ)
    )
    await queue.filled()

    redis_proxy.refuse()
    lost = await waiting

    assert 69 == lost.exit_code
    assert re.search(
        "try:  add --job-id=one to (wait for this job again|queue the job only once)", lost.stderr
    )


async def test_waiting_returns_the_result_as_data(queue: Queue) -> None:
    """A worker runs the job."""
    waiting = asyncio.create_task(queue.manage("jobs run sum left=2 --wait --json"))
    await queue.filled()
    await queue.work()
    done = await waiting

    assert (0, 3, 1) == (done.exit_code, done.json["data"]["result"], done.json["data"]["tries"])


async def test_waiting_for_a_job_that_fails_fails(queue: Queue) -> None:
    """The error has the class and the arguments of the exception."""
    waiting = asyncio.create_task(queue.manage("jobs run fail what=screws --wait --json"))
    await queue.filled()
    await queue.work()
    failed = await waiting

    assert (1, "job-failed") == (failed.exit_code, failed.json["error"]["code"])
    assert "tests.support.arq_shop.OutOfStock('screws', 3)" == failed.json["data"]["error"]


async def test_a_deadline_while_waiting_is_temporary(queue: Queue) -> None:
    """Exit code 75, and the job stays in the queue."""
    late = await queue.manage("jobs run sum left=2 --job-id one --wait --timeout 300ms")

    assert 75 == late.exit_code
    assert "error[job-still-running]: job one has not ended within --timeout\n" in late.stderr
    assert b"arq:job:one" in await queue.contents()


async def test_during_maintenance_the_error_says_that_workers_are_paused(queue: Queue) -> None:
    """The error does not say that a worker is missing."""
    await open_window(queue)

    late = await queue.manage("jobs run sum left=2 --job-id one --wait --timeout 300ms")
    stats = await queue.manage("jobs stats")

    assert 75 == late.exit_code
    assert "maintenance is on, and workers take no jobs until it ends\n" in late.stderr
    assert "  try:  python manage.py system maintenance status\n" in late.stderr
    assert stats.stdout.endswith("; maintenance is on: workers take no jobs\n")


async def test_a_job_that_is_removed_while_waiting_is_an_error(queue: Queue) -> None:
    """The command does not wait indefinitely."""
    waiting = asyncio.create_task(queue.manage("jobs run sum left=2 --wait"))
    await queue.filled()
    await queue.change("FLUSHALL")

    lost = await waiting

    assert 1 == lost.exit_code
    assert "error[job-lost]" in lost.stderr
