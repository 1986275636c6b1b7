"""`jobs list` and `jobs show` with invalid values that another client wrote to Redis."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.support.arq_shop import Queue

DUE = 1_763_700_000_000
HUGE = 10**5_000
JOB: dict[str, Any] = {"t": None, "f": "sum", "a": (), "k": {"left": 1}, "et": DUE}
ENDING: dict[str, Any] = {"s": True, "r": 2, "st": DUE, "ft": DUE + 5, "q": "shop:queue"}


@pytest.fixture
async def queue(redis_url: str, tmp_path: Path) -> Queue:
    """Return the small project with one good job."""
    queue = Queue(redis_url, tmp_path)
    await queue.manage("jobs run sum left=1 --job-id good")
    return queue


async def put(queue: Queue, changes: dict[str, Any]) -> None:
    """Put a job and a result into Redis that ARQ would not write."""
    job, result = JOB | changes, JOB | {"t": 1, "id": "ended"} | ENDING | changes
    await queue.change("SET", "arq:job:bad", pickle.dumps(job, 4))
    await queue.change("ZADD", "shop:queue", DUE, "bad")
    await queue.change("SET", "arq:result:ended", pickle.dumps(result, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {"k": {HUGE: 1}},
        {"k": {"left": HUGE}},
        {"k": {b"x" * 100_000: 1, None: 2, 1.5: 3}},
        {"k": {"\ud800": "\ud800"}},
        {"f": "\ud800"},
        {"f": "x" * 200_000},
        {"q": HUGE},
        {"q": "x" * 200_000},
        {"q": ["x"] * 50_000},
        {"t": HUGE},
        {"t": -1},
        {"et": HUGE},
        {"et": "1" * 100_000},
        {"ft": HUGE},
        {"st": "never"},
        {"s": False, "r": {"x" * 300_000: "y" * 300_000}},
    ],
    ids=lambda changes: "-".join(f"{name}:{str(type(one))[8:-2]}" for name, one in changes.items()),
)
async def test_an_invalid_job_does_not_fail_the_list(queue: Queue, changes: dict[str, Any]) -> None:
    """All jobs are shown, with a bounded output; `jobs show` shows the invalid one too."""
    await put(queue, changes)

    listed = await queue.manage("jobs list --json")
    table = await queue.manage("jobs list")
    shown = [await queue.manage(f"jobs show {name} --json") for name in ("bad", "ended")]
    stats = await queue.manage("jobs stats")

    runs = [listed, table, *shown, stats]
    assert [0] * 5 == [run.exit_code for run in runs], [run.stderr[-500:] for run in runs]
    assert {"good", "bad", "ended"} == {row["id"] for row in listed.json["data"]}
    assert [] == [len(run.stdout) for run in (listed, table, stats) if len(run.stdout) > 5_000]
    assert [] == [len(run.stdout) for run in shown if len(run.stdout) > 500_000]
    _ = [run.stdout.encode() for run in runs]


@pytest.mark.parametrize("tries", [b"abc", b"", b"\xff", b"9" * 5_000, b"-1"])
async def test_an_invalid_count_of_tries_is_no_error(queue: Queue, tries: bytes) -> None:
    """Any client may have set it."""
    await queue.change("SET", "arq:retry:good", tries)

    listed = await queue.manage("jobs list --json")
    shown = await queue.manage("jobs show good --json")

    assert (0, 0) == (listed.exit_code, shown.exit_code)
    assert (0, 0) == (listed.json["data"][0]["tries"], shown.json["data"]["tries"])


@pytest.mark.parametrize("heartbeat", [b"\xff\xfe", b"j_complete=" + b"9" * 5_000, b""])
async def test_an_invalid_heartbeat_is_no_error(queue: Queue, heartbeat: bytes) -> None:
    """Another program may have written it."""
    await queue.change("SET", "shop:queue:health-check", heartbeat, "PX", 3_600_000)

    stats = await queue.manage("jobs stats")

    assert (0, "") == (stats.exit_code, stats.stderr)


async def test_a_long_function_name_is_truncated(queue: Queue) -> None:
    """A name of 200,000 characters would make a table of 400 KB."""
    await put(queue, {"f": "x" * 200_000})

    listed = await queue.manage("jobs list")

    assert "x" * 60 in listed.stdout
    assert "x" * 300 not in listed.stdout
