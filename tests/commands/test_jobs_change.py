"""`jobs retry`, `jobs abort`, `jobs purge`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import WatchError

from oneoff.services.jobs import abort
from oneoff.services.jobs.queue import begin
from tests.support.arq_shop import Queue


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project on an empty Redis."""
    return Queue(redis_url, tmp_path)


@pytest.fixture
def aborting(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project with a worker that allows aborts."""
    return Queue(redis_url, tmp_path, "aborting")


async def ids(queue: Queue) -> dict[str, str]:
    """Return the state of each job."""
    listed = await queue.manage("jobs list --json")
    return {row["id"]: row["status"] for row in listed.json["data"]}


# --- retry -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["project", "own_format"])
async def test_a_failed_job_is_queued_again(redis_url: str, tmp_path: Path, name: str) -> None:
    """With its id and arguments, and no tries; also in the worker's own format."""
    queue = Queue(redis_url, tmp_path, name)
    await queue.manage("jobs run fail what=screws --job-id one")
    await queue.work()

    again = await queue.manage("jobs retry one --confirm")
    waiting = (await queue.manage("jobs show one --json")).json["data"]
    await queue.work()
    failed = (await queue.manage("jobs show one --json")).json["data"]

    assert (0, "queued", 0) == (again.exit_code, waiting["status"], waiting["tries"])
    assert {"args": [], "kwargs": {"what": "screws"}} == waiting["arguments"]
    assert ("failed", 1) == (failed["status"], failed["tries"])


async def test_retrying_twice_queues_once(queue: Queue) -> None:
    """The second run finds the job in the queue."""
    await queue.manage("jobs run fail --job-id one")
    await queue.work()
    preview = await queue.manage("jobs retry one --dry-run")
    before = await queue.contents()

    first = await queue.manage("jobs retry one --confirm")
    again = await queue.manage("jobs retry one --confirm")

    assert b"arq:result:one" in before
    assert (1, 1, 0) == (preview.rows, first.rows, again.rows)
    assert "job one is already in the queue\n" in again.stdout


async def test_only_failed_jobs_of_the_same_worker_are_retried(queue: Queue) -> None:
    """Not a completed job, a job of a missing function, or a job of another queue."""
    await queue.manage("jobs run sum left=1 --job-id done")
    await queue.manage("jobs run fail --job-id one")
    await queue.work()
    own = await queue.change("GET", "arq:result:one")
    await queue.change("SET", "arq:result:two", own.replace(b"\x8c\x04fail", b"\x8c\x04gone", 1))
    await queue.change("SET", "arq:result:three", own.replace(b"shop:queue", b"farm:queue", 1))
    before = await queue.contents()

    names = ("done", "two", "three")
    planned = [await queue.manage(f"jobs retry {name} --dry-run") for name in names]
    refused = [await queue.manage(f"jobs retry {name} --confirm") for name in names]

    assert [1, 2, 1] == [one.exit_code for one in planned] == [one.exit_code for one in refused]
    assert "error[job-not-failed]: job done has not failed: it is completed" in refused[0].stderr
    assert "error[unknown-task]: there is no task 'gone'" in refused[1].stderr
    assert "error[job-of-another-queue]" in refused[2].stderr
    assert before == await queue.contents()


# --- abort -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["project", "aborting", "own_format"])
@pytest.mark.parametrize("options", ["", "--defer 300ms"])
async def test_an_aborted_waiting_job_never_runs(
    redis_url: str, tmp_path: Path, name: str, options: str
) -> None:
    """Queued or deferred, whether its worker allows aborts or not."""
    queue = Queue(redis_url, tmp_path, name)
    await queue.manage(f"jobs run sum left=1 --job-id one {options}")

    preview = await queue.manage("jobs abort one --dry-run")
    aborted = await queue.manage("jobs abort one --confirm")
    await asyncio.sleep(0.4 if options else 0)
    worked = await queue.work()
    again = await queue.manage("jobs abort one --confirm")

    assert (1, 1, 0) == (preview.rows, aborted.rows, worked)
    assert "aborted job one: it will not run\n" == aborted.stdout.splitlines(keepends=True)[-1]
    assert "job one has ended: aborted\n" == again.stdout.splitlines(keepends=True)[-1]
    assert {b"arq:result:one"} == set(await queue.contents())


async def test_an_aborted_job_can_be_retried(queue: Queue) -> None:
    """It keeps its arguments."""
    await queue.manage("jobs run sum left=1 --job-id one")
    await queue.manage("jobs abort one --confirm")

    await queue.manage("jobs retry one --confirm")

    assert 1 == await queue.work()


async def test_a_running_job_is_not_aborted_if_its_worker_cant(queue: Queue) -> None:
    """The dry run says so too, and nothing is changed."""
    await queue.manage("jobs run sum left=1 --job-id one")
    await queue.change("SET", "arq:in-progress:one", "1")
    before = await queue.contents()

    preview = await queue.manage("jobs abort one --dry-run")
    refused = await queue.manage("jobs abort one --confirm")

    assert (1, 1, before) == (preview.exit_code, refused.exit_code, await queue.contents())
    assert "error[job-not-abortable]: job one is already running" in refused.stderr


async def test_aborting_a_running_job_stores_a_request_for_its_worker(
    aborting: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no worker stops the job in time, the exit code is 75."""
    monkeypatch.setattr(abort, "STOP_TIMEOUT", 0.2)
    await aborting.manage("jobs run sum left=1 --job-id one")
    await aborting.change("SET", "arq:in-progress:one", "1")

    late = await aborting.manage("jobs abort one --confirm")

    assert 75 == late.exit_code
    assert [b"one"] == await aborting.change("ZRANGE", "arq:abort", "0", "-1")


async def test_a_worker_that_is_about_to_take_an_aborted_job_fails(queue: Queue) -> None:
    """The worker watches the mark that it is about to set, and the abort writes the mark."""
    await queue.manage("jobs run sum left=1 --job-id one")
    async with Redis.from_url(queue.url) as client, client.pipeline() as worker:
        await worker.watch("arq:in-progress:one")
        assert not await worker.exists("arq:in-progress:one")
        await queue.manage("jobs abort one --confirm")
        begin(worker)
        worker.psetex("arq:in-progress:one", 1000, b"1")

        with pytest.raises(WatchError):
            await worker.execute()


def target(queue: Queue) -> str:
    """Return the target that an operator types if jobs would be lost."""
    return queue.url.rpartition("@")[2] + "@test"


# --- purge -------------------------------------------------------------------------------------


ENDED = ("done-1", "done-2")


@pytest.fixture
async def littered(queue: Queue) -> Queue:
    """Return the project with three results, dead entries, and a waiting job."""
    for number in (1, 2):
        await queue.manage(f"jobs run sum left={number} --job-id done-{number}")
    await queue.manage("jobs run fail --job-id broken")
    await queue.work()
    await queue.manage("jobs run sum left=1 --job-id waiting")
    await queue.manage("jobs run sum left=1 --job-id running")
    await queue.change("SET", "arq:in-progress:running", "1")
    await queue.manage("jobs run sum left=1 --job-id gone")
    await queue.change("DEL", "arq:job:gone")
    await queue.change("ZADD", "arq:abort", str(time.time() * 1000 - 5000), "forgotten")
    return queue


@pytest.mark.parametrize(
    ("options", "removed", "left"),
    [
        ("", (3, 2, 0), {"waiting", "running"}),
        ("--failed-only", (1, 0, 0), {*ENDED, "waiting", "running", "gone"}),
        (
            "--older-than 1h",
            (0, 0, 0),
            {"done-1", "done-2", "broken", "waiting", "running", "gone"},
        ),
        ("--older-than 1ms", (3, 2, 0), {"waiting", "running"}),
        ("--queued", (3, 2, 1), {"running"}),
    ],
)
async def test_purge_removes_only_the_selected_entries(
    littered: Queue, options: str, removed: tuple[int, int, int], left: set[str]
) -> None:
    """Never a running job. The dry run counts what the run removes, and changes nothing."""
    before = await littered.contents()
    preview = await littered.manage(f"jobs purge {options} --dry-run --json")
    unchanged = before == await littered.contents()
    real = await littered.manage(f"jobs purge {options} --confirm={target(littered)} --json")
    again = await littered.manage(f"jobs purge {options} --confirm={target(littered)}")

    counts = dict(zip(("results", "dead", "queued"), removed, strict=True))
    assert (counts, counts, True) == (preview.json["data"], real.json["data"], unchanged)
    assert left == set(await ids(littered))
    assert "nothing to remove\n" == again.stdout


@pytest.mark.parametrize("options", ["", "--older-than 1ms", "--failed-only", "--queued"])
async def test_purge_keeps_what_belongs_to_other_queues(queue: Queue, options: str) -> None:
    """Results, and requests to abort jobs: all queues share their keys."""
    await queue.manage("jobs run fail --job-id one")
    await queue.work()
    own = await queue.change("GET", "arq:result:one")
    await queue.change("DEL", "arq:result:one")
    await queue.change("SET", "arq:result:two", own.replace(b"shop:queue", b"farm:queue", 1))
    await queue.change("SET", "arq:result:three", b"in a format that only its worker can read")
    for job_id, key in (("waits", "arq:job:waits"), ("runs", "arq:in-progress:runs")):
        await queue.change("ZADD", "farm:queue", "1", job_id)
        await queue.change("SET", key, "1")
        await queue.change("ZADD", "arq:abort", "1", job_id)
    before = await queue.contents()

    done = await queue.manage(f"jobs purge {options} --confirm={target(queue)}")

    assert (0, "nothing to remove\n") == (done.exit_code, done.stdout), done.stderr
    assert before == await queue.contents()


async def test_purge_reads_all_pages_while_the_queue_shrinks(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No entry is skipped, and the remaining ones are not read again and again."""
    from oneoff.services.jobs import purge

    monkeypatch.setattr(purge, "PAGE", 3)
    for number in range(10):
        await queue.change("ZADD", "shop:queue", str(number + 1), f"gone-{number}")
        if number % 4 == 0:
            await queue.change("SET", f"arq:in-progress:gone-{number}", "1")

    done = await queue.manage("jobs purge --confirm --json")

    assert {"results": 0, "dead": 7, "queued": 0} == done.json["data"]
    assert {"gone-0", "gone-4", "gone-8"} == set(await ids(queue))


@pytest.mark.parametrize("jobs", [0, 3], ids=["empty", "one page"])
async def test_a_queue_that_ends_with_a_full_page_is_purged(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """No command is sent for an empty page. The dry run counts what the run removes."""
    from oneoff.services.jobs import purge

    monkeypatch.setattr(purge, "PAGE", 3)
    for number in range(jobs):
        await queue.manage(f"jobs run sum left={number} --job-id waiting-{number}")

    preview = await queue.manage("jobs purge --queued --dry-run --json")
    done = await queue.manage(f"jobs purge --queued --confirm={target(queue)} --json")

    counts = {"results": 0, "dead": 0, "queued": jobs}
    assert (counts, counts, {}) == (preview.json["data"], done.json["data"], await ids(queue))


@pytest.mark.parametrize("environment", ["test", "production"])
async def test_purging_waiting_jobs_needs_the_target(littered: Queue, environment: str) -> None:
    """A plain --confirm is refused, and the refusal says what would be lost."""
    before = await littered.contents()
    environ = {"ENVIRONMENT": environment}

    refused = await littered.manage("jobs purge --queued --confirm", environ=environ)
    unchanged = before == await littered.contents()
    name = f"{littered.url.rpartition('@')[2]}@{environment}"
    done = await littered.manage(f"jobs purge --queued --confirm={name}", environ=environ)

    assert (77, True, 0) == (refused.exit_code, unchanged, done.exit_code), done.stderr
    assert (
        "  why:  it removes the results of jobs and all waiting jobs, "
        f"which will never run, from {name}\n"
    ) in refused.stderr
    assert f"  try:  python manage.py jobs purge --queued --confirm={name}\n" in refused.stderr
    assert "removed 3 results, 2 dead entries, 1 queued job\n" == done.stdout


async def test_the_confirmation_names_the_age(queue: Queue) -> None:
    """As it was typed."""
    refused = await queue.manage("jobs purge --failed-only --older-than 7d")

    assert "removes the results of failed jobs from " in refused.stderr
    assert "@test, if older than 7d\n" in refused.stderr


async def test_contradictory_options_are_refused(littered: Queue) -> None:
    """--failed-only and --queued can't be used together."""
    assert 2 == (await littered.manage("jobs purge --failed-only --queued --confirm")).exit_code


@pytest.mark.parametrize("line", ["jobs retry broken", "jobs abort waiting", "jobs purge"])
async def test_an_unconfirmed_run_changes_nothing(littered: Queue, line: str) -> None:
    """Exit code 77, and the prompt names Redis."""
    before = await littered.contents()

    refused = await littered.manage(line)
    asked = await littered.manage(line, answers=["n"])

    assert (77, 77, before) == (refused.exit_code, asked.exit_code, await littered.contents())
    assert "redis: " in asked.stderr
