"""`jobs run`."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.arq_shop import Queue
from tests.support.servers.process import HOST, free_port


@pytest.fixture
def queue(redis_url: str, tmp_path: Path, migrated_sqlite: Path) -> Queue:
    """Return the small project on an empty Redis and a migrated database."""
    shutil.copyfile(migrated_sqlite, tmp_path / "shop.sqlite3")
    return Queue(redis_url, tmp_path)


async def test_a_job_is_queued_as_arq_would(queue: Queue) -> None:
    """A worker runs it with its arguments."""
    queued = await queue.manage("jobs run sum --args left=2 right=3 --job-id one")
    waiting = await queue.contents()
    worked = await queue.work()
    shown = await queue.manage("jobs show one --json")

    assert (0, 1) == (queued.exit_code, worked)
    assert "queued sum(left=2, right=3) as job one\n" in queued.stdout
    assert {b"arq:job:one", b"shop:queue"} == set(waiting)
    assert ("completed", 5) == (shown.json["data"]["status"], shown.json["data"]["result"])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("jobs run summ --args left=2", "there is no task 'summ'; did you mean sum?"),
        ("jobs run sum --args left=two", "left 'two' is not a whole number"),
        ("jobs run sum --args left=2 wrong=3", "there is no argument 'wrong'"),
        ("jobs run sum", "the argument left is missing"),
        ("jobs run sum --args-json '{'", "--args-json is not JSON"),
        ("jobs run sum left=2 --inline --defer 5m", "--inline and --defer can't be used together"),
        ("jobs run cron:add --args left=1 --wait", "cron:add keeps no result"),
    ],
)
async def test_problems_are_reported_before_anything_is_queued(
    queue: Queue, line: str, problem: str
) -> None:
    """Exit code 2, and Redis stays empty."""
    refused = await queue.manage(line)

    assert (2, {}) == (refused.exit_code, await queue.contents())
    assert problem in refused.stderr


async def test_a_dry_run_says_what_would_be_queued(queue: Queue) -> None:
    """It queues nothing."""
    planned = await queue.manage("jobs run sum left=2 --defer 5m --dry-run")
    inline = await queue.manage("jobs run sum left=2 --inline --dry-run")

    assert {} == await queue.contents()
    assert "would queue sum(left=2) in shop:queue, due at 20" in planned.stdout
    assert "would run sum(left=2) in this process\n" in inline.stdout


async def test_an_id_is_queued_once(queue: Queue) -> None:
    """The second run changes nothing, while the job waits and after it has ended."""
    line = "jobs run sum left=2 --job-id one"
    await queue.manage(line)
    before = await queue.contents()
    again = await queue.manage(line)
    planned = await queue.manage(f"{line} --dry-run")
    unchanged = before == await queue.contents()
    await queue.work()
    after = await queue.manage(line)

    assert ((0, 0), (0, 0), True) == (
        (again.exit_code, again.rows),
        (planned.exit_code, planned.rows),
        unchanged,
    )
    assert "job one already exists: nothing was queued\n" == after.stdout


async def test_quiet_prints_only_the_id_or_the_result(queue: Queue) -> None:
    """The id of a queued or existing job, or the result of an inline job as JSON."""
    first = await queue.manage("jobs run sum left=2 --job-id one --quiet")
    again = await queue.manage("jobs run sum left=2 --job-id one --quiet")
    planned = await queue.manage("jobs run sum left=2 --quiet --dry-run")
    made_up = await queue.manage("jobs run sum left=2 --quiet")
    inline = await queue.manage("jobs run look_around --inline --quiet")

    assert ["one\n", "one\n", ""] == [run.stdout for run in (first, again, planned)]
    assert await queue.change("EXISTS", f"arq:job:{made_up.stdout.strip()}")
    assert "shelf" in json.loads(inline.stdout)


async def test_the_error_of_an_inline_job_does_not_name_jobs_show(queue: Queue) -> None:
    """Its result is not stored. For a job that a worker ran, `jobs show` shows more."""
    here = await queue.manage("jobs run fail --inline --job-id one")
    waiting = asyncio.create_task(queue.manage("jobs run fail --wait --job-id one"))
    await queue.filled()
    await queue.work()
    there = await waiting

    assert (1, 1) == (here.exit_code, there.exit_code)
    assert "jobs show" not in here.stderr
    assert "  try:  python manage.py jobs show one\n" in there.stderr


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("sum left=2", "completed"),
        ("paint colour=red day=2026-01-31 sizes=[1,2]", "completed"),
        ('weigh --args-json \'{"weights": {"nail": 1.5}}\'', "completed"),
        ("insist tries=2", "completed"),
        ("insist tries=9", "failed"),
        ("fail", "failed"),
        ("unpicklable", "failed"),
        ("look_around", "completed"),
        ("tests.support.arq_shop.add left=1", "completed"),
    ],
)
async def test_inline_has_the_same_outcome_as_a_worker(
    queue: Queue, line: str, status: str
) -> None:
    """Result, error, tries, and the names in the context."""
    here = await queue.manage(f"jobs run {line} --inline --json")
    untouched = await queue.contents()
    await queue.manage(f"jobs run {line} --job-id one")
    await queue.work_until_ended("one")
    there = await queue.manage("jobs show one --json")

    assert {} == untouched
    compared = ("status", "function", "arguments", "tries", "result", "error")
    assert [there.json["data"][name] for name in compared] == [
        here.json["data"][name] for name in compared
    ]
    assert (status, int(status == "failed")) == (here.json["data"]["status"], here.exit_code)


async def test_the_workers_own_serializer_is_used(queue: Queue, tmp_path: Path) -> None:
    """Jobs are written and read in its format."""
    own = Queue(queue.url, tmp_path, "own_format")

    done = await own.manage("jobs run sum left=2 --job-id one")
    raw = await own.change("GET", "arq:job:one")
    worked = await own.work()
    shown = await own.manage("jobs show one --json")

    assert (0, 1, True) == (done.exit_code, worked, raw.startswith(b"own:"))
    assert 3 == shown.json["data"]["result"]


async def test_a_command_may_queue_jobs(queue: Queue) -> None:
    """With the resource `jobs`. The same id is queued once."""
    first, again = await queue.manage("restock"), await queue.manage("restock")

    assert ("queued restock: True\n", "queued restock: False\n") == (first.stdout, again.stdout)
    assert 1 == await queue.work()


async def test_a_dry_run_refuses_writes_of_the_commands_own_client(queue: Queue) -> None:
    """The dry run fails even if the command catches the error. A real run may write."""
    refused, planned = await queue.manage("sneak --dry-run"), await queue.contents()
    done = await queue.manage("sneak")

    assert (1, {}) == (refused.exit_code, planned)
    assert "error[read-only]" in refused.stderr
    assert (0, [b"sneaked"]) == (done.exit_code, list(await queue.contents()))


@pytest.mark.parametrize("line", ["restock --dry-run", "restock --dry-run --swallow", "stocktake"])
async def test_a_dry_run_or_a_read_only_command_queues_nothing(queue: Queue, line: str) -> None:
    """It is always an error, even if the command catches it."""
    refused = await queue.manage(line)

    assert (1, {}) == (refused.exit_code, await queue.contents())
    assert "error[read-only]: tried to queue sum where only reading is allowed" in refused.stderr


async def test_a_secret_argument_is_never_shown(queue: Queue) -> None:
    """Not when the job is queued, and not in a list."""
    line = """jobs run paint --args-json '{"colour": "red", "password": "hunter2hunter2"}'"""
    refused = await queue.manage(line)
    queued = await queue.manage("jobs run fail --args what='token=hunter2hunter2'")
    listed = await queue.manage("jobs list --json")
    shown = await queue.manage(f"jobs show {job_id(queued.stdout)}")

    texts = [run.stdout + run.stderr for run in (refused, queued, listed, shown)]
    assert [] == [text for text in texts if "hunter2hunter2" in text]


def job_id(text: str) -> str:
    """Return the id that `jobs run` generated."""
    found = re.search(r"as job (\w+)", text)
    assert found, text
    return found[1]


@pytest.mark.parametrize(
    ("url", "exit_code", "code"),
    [("", 78, "redis-not-configured"), ("redis://127.0.0.1:1/0", 69, "redis-unreachable")],
)
async def test_without_redis_the_error_says_so(
    tmp_path: Path, url: str, exit_code: int, code: str
) -> None:
    """Immediately, with an exit code that says whether to try again."""
    refused = await Queue(url, tmp_path).manage("jobs list")

    assert exit_code == refused.exit_code
    assert f"error[{code}]" in refused.stderr


@pytest.mark.parametrize("state", ["missing", "foreign", "down"])
async def test_inline_is_refused_if_it_cant_be_recorded(
    queue: Queue, tmp_path: Path, state: str
) -> None:
    """A task may write to the database, so its run is recorded first. Queueing still works."""
    path = tmp_path / "foreign.sqlite3"
    if state == "foreign":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE things (id INTEGER)")
    down = f"postgres://shop:secret@{HOST}:{free_port()}/shop"
    environ = {"DATABASE_URL": down if state == "down" else f"sqlite:///{path}"}

    inline = await queue.manage("jobs run insist tries=1 --inline", environ=environ)
    queued = await queue.manage("jobs run insist tries=1", environ=environ)

    assert (69 if state == "down" else 78, 0) == (inline.exit_code, queued.exit_code)
    assert state == "down" or "error[not-migrated]" in inline.stderr
    assert (state == "foreign") == path.exists()


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        ("unavailable", 69, "shop-closed"),
        ("configuration", 78, "configuration"),
        ("redis", 69, "redis-unreachable"),
        ("retried", 69, "shop-closed"),
        ("slow", 1, "job-failed"),
        ("cancelled", 1, "job-failed"),
    ],
)
async def test_inline_keeps_the_exit_code_of_the_error(
    queue: Queue, error: str, exit_code: int, code: str
) -> None:
    """So a script knows what to try again. An error without its own code is a failed job."""
    failed = await queue.manage(f"jobs run break_down how={error} --inline --json")

    assert (exit_code, code) == (failed.exit_code, failed.json["error"]["code"])
    assert ("failed", "break_down") == tuple(
        failed.json["data"][name] for name in ("status", "function")
    )
