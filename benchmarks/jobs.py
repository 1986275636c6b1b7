"""Compare the `jobs` commands with ARQ's functions, on 100,000 queued jobs and as many results.

Start-up is not measured: both sides run in this process, in turn, on a temporary redis-server. Exit
with 0 if all goals are met and 1 if one is missed. Start the script with the project's interpreter.
"""

import argparse
import asyncio
import os
import pickle
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from arq.connections import ArqRedis  # noqa: E402 - the project is found by the line above
from redis.asyncio import Redis  # noqa: E402
from redis_server import Server, running  # noqa: E402

from oneoff.core.policy import Mode  # noqa: E402
from oneoff.core.project import Project  # noqa: E402
from oneoff.services.jobs.lookup import ENDED, count_jobs, list_jobs  # noqa: E402
from oneoff.services.jobs.purge import PurgeFilter, purge  # noqa: E402
from oneoff.services.jobs.queue import Jobs  # noqa: E402
from oneoff.services.jobs.records import JobStatus  # noqa: E402
from oneoff.services.jobs.worker_settings import load_worker  # noqa: E402

ENOUGH_RUNS = 9
PAGE = 5_000
KIBIBYTES = 1024
COLUMNS = "{:<34} {:>12} {:>12} {:>9}  {}"


async def task(_ctx: dict[Any, Any], number: int) -> int:
    """Return the number; a task for the queue."""
    return number


class WorkerSettings:
    """The worker whose queue is read."""

    functions = (task,)


PROJECT = Project("bench", commands=(), worker=f"{__name__}:WorkerSettings")
PROGRAM = """\
import sys
sys.path[:0] = [{root!r}, "."]
from oneoff.cli import main
code = main("jobs:PROJECT")
print(open("/proc/self/status").read(), file=sys.stderr)
sys.exit(code)
"""


class Bench(NamedTuple):
    """The two sides, on one server."""

    jobs: Jobs
    arq: ArqRedis
    server: Server
    size: int


class Line(NamedTuple):
    """One measured value and its goal.

    Attributes:
        title: What was measured.
        peer: The value of ARQ's function; None if there is none to compare with.
        ours: Our value.
        unit: The unit of both values.
        limit: The goal: a multiple of `peer`, or an absolute value without a peer.
    """

    title: str
    peer: float | None
    ours: float
    unit: str
    limit: float

    def met(self) -> bool:
        """Return whether the goal is met."""
        return self.ours <= self.limit * (1 if self.peer is None else self.peer)

    def text(self) -> str:
        """Return the line of the table."""
        peer = "" if self.peer is None else f"{self.peer:.0f} {self.unit}"
        ratio = "" if self.peer is None else f"{self.ours / self.peer:.3f}"
        goal = f"<= {self.limit:g} {'x' if self.peer is not None else self.unit}"
        verdict = "met" if self.met() else "MISSED"
        ours = f"{self.ours:.1f} {self.unit}"
        return COLUMNS.format(self.title, peer, ours, ratio, f"{goal}: {verdict}")


def main() -> int:
    """Measure, print the table, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that the server stops
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS, help="timed runs of each side")
    parser.add_argument("--count", type=int, default=100_000, help="number of jobs and of results")
    options = parser.parse_args()
    if options.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the results are not reliable")
    print(COLUMNS.format(f"{options.count:,} queued, as many results", "peer", "ours", "ratio", ""))
    with (
        tempfile.TemporaryDirectory(prefix="oneoff-bench-") as folder,
        running(Path(folder)) as server,
    ):
        lines = asyncio.run(measure(server, options.runs, options.count))
    missed = [line.title for line in lines if not line.met()]
    print(f"\ngoals MISSED: {', '.join(missed) or 'none'}")
    return int(bool(missed))


async def measure(server: Server, runs: int, count: int) -> list[Line]:
    """Measure all lines, print each one, and return them."""
    lines: list[Line] = []

    def show(*found: Line) -> None:
        lines.extend(found)
        print(*(line.text() for line in found), sep="\n", flush=True)

    async with opened(server, count) as bench:
        await fill_queue(bench)
        await fill_results(bench)
        show(await listing(bench, runs, "list, 50 of all", list(JobStatus)))
        show(await listing(bench, runs, "list, 50 of the results", list(ENDED)))
        show(await counting(bench, runs))
        show(*memory(bench, "list", "stats", "purge --dry-run"))
        show(*await purging(bench, runs))
        await fill_results(bench)
        show(*memory(bench, "purge --confirm"))
    return lines


async def listing(bench: Bench, runs: int, title: str, statuses: list[JobStatus]) -> Line:
    """Time `jobs list`."""

    async def ours() -> None:
        found = await list_jobs(bench.jobs, statuses, 50)
        assert len(found.jobs) == 50  # noqa: PLR2004

    return Line(title, None, await median_of(ours, runs), "ms", 20)


async def counting(bench: Bench, runs: int) -> Line:
    """Time `jobs stats`, and the functions of ARQ that return the same."""

    async def peer() -> None:
        queued = await bench.arq.queued_jobs()
        results = await bench.arq.all_job_results()
        assert len(queued) == len(results) == bench.size

    async def ours() -> None:
        stats = await count_jobs(bench.jobs)
        assert sum(stats.counts.values()) == 2 * bench.size

    samples: dict[str, list[float]] = {"peer": [], "ours": []}
    for _ in range(runs):
        samples["peer"].append(await timed(peer))
        samples["ours"].append(await timed(ours))
    peers, own = (statistics.median(samples[side]) for side in ("peer", "ours"))
    return Line("stats; queued_jobs + all_job_results", peers, own, "ms", 0.1)


async def purging(bench: Bench, runs: int) -> list[Line]:
    """Time `jobs purge` and a loop of DEL; measure how long another client waits meanwhile."""

    async def peer() -> None:
        async for key in bench.jobs.client.scan_iter(match="arq:result:*"):
            await bench.jobs.client.delete(key)

    async def ours() -> None:
        removed = await purge(bench.jobs, PurgeFilter(), plan=False)
        assert removed.results == bench.size

    peers, own, worst = [], [], []
    for _ in range(runs):
        await fill_results(bench)
        peers.append(await timed(peer))
        await fill_results(bench)
        with pinging(bench.server) as pings:
            own.append(await timed(ours))
        worst += pings
    return [
        Line("purge; SCAN and DEL one by one", statistics.median(peers), _median(own), "ms", 0.05),
        Line("purge: worst PING of another client", None, _median(worst), "ms", 6),
    ]


def memory(bench: Bench, *lines: str) -> list[Line]:
    """Measure the peak memory of our commands, each as a process."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": tempfile.gettempdir(),
        "REDIS_URL": bench.server.url,
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "error",
    }
    found = []
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(root=str(ROOT)), "jobs", *line.split()],
            env=environ,
            cwd=HERE,
            capture_output=True,
            text=True,
            check=True,
        )
        peak = int(done.stderr.rsplit("VmHWM:", 1)[1].split()[0]) / KIBIBYTES
        found.append(Line(f"memory: jobs {line}", None, peak, "MiB", 80))
    return found


async def median_of(side: Callable[[], Awaitable[None]], runs: int) -> float:
    """Return the median time of a side in milliseconds, after one warm-up run."""
    await side()
    return _median([await timed(side) for _ in range(runs)])


async def timed(side: Callable[[], Awaitable[None]]) -> float:
    """Run a side once; return its milliseconds."""
    start = time.perf_counter()
    await side()
    return (time.perf_counter() - start) * 1000


def _median(samples: list[float]) -> float:
    return statistics.median(samples)


@contextmanager
def pinging(server: Server) -> Iterator[list[float]]:
    """Ping from another process while the block runs; then add the worst wait in ms to the list."""
    worst: list[float] = []
    with subprocess.Popen(
        [sys.executable, str(HERE / "ping.py"), str(server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield worst
        answer, _ = process.communicate("")
        worst.append(float(answer))


@asynccontextmanager
async def opened(server: Server, count: int) -> AsyncIterator[Bench]:
    """Connect both sides."""
    client, arq = Redis.from_url(server.url), ArqRedis.from_url(server.url)
    try:
        yield Bench(Jobs(client, load_worker(PROJECT), Mode.COMMIT), arq, server, count)
    finally:
        await client.aclose()
        await arq.aclose()


async def fill_queue(bench: Bench) -> None:
    """Queue jobs, with the same keys and values as ARQ."""
    now = round(time.time() * 1000)
    for page in range(0, bench.size, PAGE):
        pipe = bench.jobs.client.pipeline(transaction=False)
        for number in range(page, min(page + PAGE, bench.size)):
            job = {"t": None, "f": "task", "a": (), "k": {"number": number}, "et": now}
            pipe.psetex(f"arq:job:{number:032x}", 86_400_000, pickle.dumps(job))
            pipe.zadd("arq:queue", {f"{number:032x}": now + number})
        await pipe.execute()


async def fill_results(bench: Bench) -> None:
    """Store results, with the same keys and values as ARQ; every tenth job has failed."""
    now = round(time.time() * 1000)
    for page in range(0, bench.size, PAGE):
        pipe = bench.jobs.client.pipeline(transaction=False)
        for number in range(page, min(page + PAGE, bench.size)):
            job_id = f"{number + bench.size:032x}"
            success = number % 10 > 0
            result = {
                "t": 1,
                "f": "task",
                "a": (),
                "k": {"number": number},
                "et": now,
                "s": success,
                "r": number if success else ValueError("no such row"),
                "st": now,
                "ft": now + number,
                "q": "arq:queue",
                "id": job_id,
            }
            pipe.psetex(f"arq:result:{job_id}", 86_400_000, pickle.dumps(result))
        await pipe.execute()


if __name__ == "__main__":
    raise SystemExit(main())
