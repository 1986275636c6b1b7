"""`jobs list`, `jobs show`, `jobs stats`."""

from __future__ import annotations

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from oneoff.services.jobs import lookup, pages
from tests.support.arq_shop import Queue, WorkerSettings


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project on an empty Redis."""
    return Queue(redis_url, tmp_path)


@pytest.fixture
async def busy(queue: Queue) -> Queue:
    """Return the small project with a job in each state."""
    await queue.manage("jobs run sum left=1 --job-id done")
    await queue.work()
    await queue.manage("jobs run fail --job-id broken")
    await queue.work()
    await queue.manage("jobs run sum left=1 --job-id waiting")
    await queue.manage("jobs run sum left=1 --job-id running")
    await queue.change("SET", "arq:in-progress:running", "1")
    await queue.change("SET", "arq:retry:running", "2")
    await queue.manage("jobs run sum left=1 --job-id later --defer 1h")
    await queue.manage("jobs run sum left=1 --job-id gone")
    await queue.change("DEL", "arq:job:gone")
    return queue


async def states(queue: Queue, options: str = "") -> dict[str, str]:
    """Return the ids and states that `jobs list` shows, in its order."""
    listed = await queue.manage(f"jobs list --json {options}")
    assert 0 == listed.exit_code, listed.stdout
    return {row["id"]: row["status"] for row in listed.json["data"]}


async def test_every_state_is_listed(busy: Queue) -> None:
    """The queue by due time, including an expired job; then ended jobs, newest first."""
    assert [
        ("waiting", "queued"),
        ("running", "running"),
        ("gone", "expired"),
        ("later", "deferred"),
        ("broken", "failed"),
        ("done", "completed"),
    ] == list((await states(busy)).items())


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("queued", ["waiting"]),
        ("running", ["running"]),
        ("deferred", ["later"]),
        ("expired", ["gone"]),
        ("completed", ["done"]),
        ("failed", ["broken"]),
        ("queued,failed", ["waiting", "broken"]),
    ],
)
async def test_jobs_can_be_selected_by_state(busy: Queue, wanted: str, ids: list[str]) -> None:
    """One state, or several separated by commas."""
    assert ids == list(await states(busy, f"--status {wanted}"))


async def test_the_limit_applies_to_queued_and_ended_jobs_together(busy: Queue) -> None:
    """The queue comes first."""
    assert ["waiting", "running"] == list(await states(busy, "--limit 2"))
    assert ["waiting", "running", "gone", "later", "broken"] == list(
        await states(busy, "--limit 5")
    )


@pytest.mark.parametrize("options", ["--limit 0", "--status done", "--status queued,"])
async def test_a_wrong_option_is_a_usage_error(queue: Queue, options: str) -> None:
    """A limit below 1, or an unknown state."""
    assert 2 == (await queue.manage(f"jobs list {options}")).exit_code


async def test_jobs_of_all_pages_are_listed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job is listed once, even if pages are small."""
    monkeypatch.setattr(pages, "PAGE", 3)
    monkeypatch.setattr(pages, "SCAN_COUNT", 2)
    for number in range(8):
        await queue.manage(f"jobs run sum left={number} --job-id job-{number}")
    assert 8 == await queue.work()
    for number in range(8):
        await queue.manage(f"jobs run sum left={number} --job-id new-{number}")

    assert 16 == len(await states(queue))
    assert 8 == len(await states(queue, "--status queued"))
    stats = await queue.manage("jobs stats --json")
    assert (8, 8) == tuple(stats.json["data"][-1][name] for name in ("queued", "completed"))


async def test_a_list_that_stops_early_says_so(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis does not order results; reading 100,000 of them to show 50 would take a second."""
    monkeypatch.setattr(pages, "SCAN_COUNT", 1)
    monkeypatch.setattr(lookup, "ENOUGH_KEYS", 1)
    for number in range(30):
        raw = pickle.dumps({"t": 1, "f": "sum", "a": (), "k": {}, "et": 1, "s": True, "r": number})
        await queue.change("SET", f"arq:result:{number}", raw)

    listed = await queue.manage("jobs list --limit 3")

    assert "newer ones may be missing" in listed.stderr
    assert 3 == listed.stdout.count("completed")


async def test_show_has_all_facts_about_a_job(busy: Queue) -> None:
    """Arguments, state, tries, result and error."""
    done = (await busy.manage("jobs show done --json")).json["data"]
    broken = (await busy.manage("jobs show broken --json")).json["data"]
    running = (await busy.manage("jobs show running --json")).json["data"]

    assert {"args": [], "kwargs": {"left": 1}} == done["arguments"]
    assert ("completed", 2, 1, "shop:queue") == tuple(
        done[name] for name in ("status", "result", "tries", "queue")
    )
    assert ("tests.support.arq_shop.OutOfStock('nails', 3)", None) == (
        broken["error"],
        broken["result"],
    )
    assert ("running", 2) == (running["status"], running["tries"])


async def test_showing_an_unknown_job_is_an_error(queue: Queue) -> None:
    """The error names the id."""
    missing = await queue.manage("jobs show nothing")

    assert 1 == missing.exit_code
    assert "error[job-not-found]: there is no job 'nothing'\n" in missing.stderr


async def test_stats_count_by_function(busy: Queue) -> None:
    """The last row counts all of them."""
    await busy.change("DEL", "shop:queue:health-check")

    stats = await busy.manage("jobs stats --json")

    rows = {row.pop("function"): row for row in stats.json["data"]}
    assert {"sum": (1, 1, 1, 1, 0), "fail": (0, 0, 0, 0, 1), "(all)": (1, 1, 1, 1, 1)} == {
        name: tuple(row[key] for key in ("running", "queued", "deferred", "completed", "failed"))
        for name, row in rows.items()
        if name != "(unreadable)"
    }
    assert 1 == rows["(all)"]["expired"]
    assert stats.json["message"].endswith("no worker was seen")


async def test_stats_show_when_a_worker_was_last_seen(queue: Queue) -> None:
    """From the heartbeat of the worker."""
    heartbeat = b"Nov-21 10:18:00 j_complete=7 j_failed=1 j_retried=0 j_ongoing=2 queued=3"
    await queue.change("SET", "shop:queue:health-check", heartbeat, "PX", 3_600_000)

    stats = await queue.manage("jobs stats")

    assert "a worker was seen 1 s ago" in stats.stdout


class Bomb:
    """Pickles to a call of `os.system`."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


async def test_one_job_is_counted_in_the_singular(queue: Queue) -> None:
    """The message says "1 job"."""
    await queue.manage("jobs run sum left=1 --job-id one")

    assert "1 job; the queue holds 1\n" in (await queue.manage("jobs list")).stdout


async def test_a_hostile_result_runs_nothing(queue: Queue, tmp_path: Path) -> None:
    """In commands that only read, and in commands that change jobs."""
    trace = tmp_path / "trace"
    result = {"t": 1, "f": "sum", "a": (Bomb(trace),), "k": {}, "et": 1, "s": False}
    raw = pickle.dumps(result | {"r": Bomb(trace), "st": 1, "ft": 2, "q": "shop:queue", "id": "x"})
    await queue.change("SET", "arq:result:x", raw)
    lines = (
        "jobs list",
        "jobs show x",
        "jobs stats",
        "jobs retry x --confirm",
        "jobs abort x --confirm",
        "jobs purge --failed-only --confirm",
    )
    outcomes = [await queue.manage(line) for line in lines]

    assert [0] * len(lines) == [outcome.exit_code for outcome in outcomes], outcomes[-1].stderr
    assert not trace.exists()
    assert "posix.system(" in outcomes[0].stdout


async def test_unreadable_jobs_are_listed_as_unreadable(queue: Queue) -> None:
    """Invalid bytes in the key of a job or result do not fail the command."""
    await queue.change("SET", "arq:result:rubbish", b"rubbish")
    await queue.change("SET", "arq:job:odd", b"\x80\x04.")
    await queue.change("ZADD", "shop:queue", "1", "odd")

    listed = await queue.manage("jobs list --json")

    assert [("odd", "queued"), ("rubbish", "unreadable")] == [
        (row["id"], row["status"]) for row in listed.json["data"]
    ]
    assert all(row["error"].startswith("can't be read: ") for row in listed.json["data"])


async def test_the_queue_name_is_read_from_the_worker_settings(queue: Queue) -> None:
    """With another queue name in the settings, another queue is listed."""
    await queue.manage("jobs run sum left=1 --job-id one")
    assert ["one"] == list(await states(queue))

    WorkerSettings.queue_name = "other:queue"
    try:
        assert [] == list(await states(queue))
    finally:
        WorkerSettings.queue_name = "shop:queue"
    await asyncio.sleep(0)
