"""Kill runs, cut connections and restart the server during batches, and count the rows.

Starts real processes on a temporary PostgreSQL server. Prints the faults and their effects. Exits
with 1 if a row was lost, processed twice or recorded wrongly. Takes about twelve minutes.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from tests.support import import_faults  # noqa: E402 - the project is found by the line above
from tests.support.batch_faults import (  # noqa: E402
    Ordeal,
    commit_moments,
    wait_for_rows,
)
from tests.support.fleet_faults import Fleet  # noqa: E402
from tests.support.servers import (  # noqa: E402
    Postgres,
    Redis,
    proxying,
    running_postgres,
    running_redis,
)
from tests.support.tally_project import execute, make_tally  # noqa: E402

COLUMNS = "{:<38} {:>7} {:>9} {:>6} {:>6} {:>11} {:>8}"
ANEW = "UPDATE tally SET n = 0; DELETE FROM oneoff_batches; DELETE FROM oneoff_runs;"
FAST = ("tally", "add", "--slow", "0.01", "--confirm")
FLEET = ("tally", "add", "--shards", "8", "--fleet", "--slow", "0.15", "--confirm")
RANGES = ("tally", "raise-all", "--duty", "10", "--confirm")
WORKERS = 4
SHORTEST_LIFE, LONGEST_LIFE = 0.7, 2.0
"""Times after which a process is killed, as parts of the time in which one starts and ends."""
PATIENCE = 1_200
"""Seconds for all rows, on a machine that is busy with other work."""
Inflict = Callable[[Ordeal, int], int]
"""Inflict a fault on one batch up to N times, and return how often it was inflicted."""


def main() -> int:
    """Run every kind of fault and return the exit code."""
    wanted = _parse()
    print(COLUMNS.format("fault", "times", "rows", "lost", "twice", "off record", "seconds"))
    with (
        running_postgres() as server,
        running_redis() as redis,
        _prepared(server, wanted.rows) as url,
    ):
        by_workers = _kill_workers(redis, wanted.every)
        right = [
            _suffer(url, wanted, "kill -9 at a random point", wanted.kills, _kill),
            _suffer(url, wanted, "kill -9 of a run with four shards", wanted.shards, _kill_sharded),
            _suffer(url, wanted, "kill -9 around a commit", wanted.commits, _die),
            _suffer(url, wanted, "server restarted, -m immediate", wanted.restarts, _crash(server)),
            _suffer(url, wanted, "the same, ranges", wanted.restarts, _crash(server), words=RANGES),
            _suffer(url, wanted, "connection reset", wanted.cuts, _cut(server)),
            _suffer(url, wanted, f"kill -9 of 1 of {WORKERS} workers", wanted.workers, by_workers),
            _kill_imports(url, wanted),
        ]
    return 0 if all(right) else 1


def _migrate(cwd: Path, environ: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=cwd,
        env={**environ, "ENVIRONMENT": "test"},
        check=True,
        capture_output=True,
    )


def _kill_imports(url: str, wanted: argparse.Namespace) -> bool:
    """Kill `data import --resume` at random points."""
    execute(url, import_faults.TABLE)
    with tempfile.TemporaryDirectory() as folder:
        words = import_faults.make_rows(Path(folder) / "rows.csv", wanted.rows)

        def make() -> Ordeal:
            return import_faults.ImportOrdeal(url, words=words)

        title, anew = "kill -9 of data import --resume", import_faults.ANEW
        return _suffer(url, wanted, title, wanted.imports, _kill, make=make, anew=anew)


def _suffer(
    url: str,
    wanted: argparse.Namespace,
    title: str,
    times: int,
    inflict: Inflict,
    *,
    make: Callable[[], Ordeal] | None = None,
    words: tuple[str, ...] = FAST,
    anew: str = ANEW,
) -> bool:
    """Inflict a fault on one batch after another, until it was inflicted `times` times."""
    started, done, rounds = time.monotonic(), 0, 0
    lost = twice = off = 0
    while done < times:
        execute(url, anew)
        ordeal = make() if make else Ordeal(url, {"TALLY_BATCH": "200"}, words=words)
        ordeal.patience = PATIENCE
        done += inflict(ordeal, times - done)
        ordeal.finish()
        ordeal.settle()
        verdict = ordeal.verdict(wanted.rows)
        lost, twice, off = lost + verdict[0], twice + verdict[1], off + verdict[2]
        rounds += 1
        if any(ordeal.codes):
            print(f"a run ended with {ordeal.codes}")
            return False
    seconds = round(time.monotonic() - started)
    rows = rounds * wanted.rows
    print(COLUMNS.format(title, done, rows, lost, twice, off, seconds), flush=True)
    return not (lost or twice or off)


def _kill(ordeal: Ordeal, most: int) -> int:
    started = time.monotonic()
    ordeal.settle()
    whole = time.monotonic() - started
    while ordeal.kills < most and not ordeal.codes:
        life = random.uniform(SHORTEST_LIFE, LONGEST_LIFE)  # noqa: S311 - a delay
        ordeal.kill_after(life * whole)
    return ordeal.kills


def _kill_sharded(ordeal: Ordeal, most: int) -> int:
    ordeal.words = (*FAST, "--shards", "8")
    return _kill(ordeal, most)


def _die(ordeal: Ordeal, most: int) -> int:
    for commits, seconds in commit_moments(most, 40):
        if ordeal.codes or not ordeal.die_at_commit(commits, seconds):
            break
    return ordeal.kills


def _crash(server: Postgres) -> Inflict:
    def inflict(ordeal: Ordeal, most: int) -> int:
        return _disturb(ordeal, ordeal, most, lambda: server.restart("immediate"))

    return inflict


def _cut(server: Postgres) -> Inflict:
    def inflict(ordeal: Ordeal, most: int) -> int:
        with proxying(server.port) as proxy:
            through = Ordeal(proxy.url(ordeal.url), ordeal.environ, words=ordeal.words)
            return _disturb(ordeal, through, most, proxy.cut)

    return inflict


def _kill_workers(redis: Redis, every: float) -> Inflict:
    """Kill the oldest worker of a fleet every `every` seconds, and start another one."""

    def inflict(ordeal: Ordeal, most: int) -> int:
        redis.flush()
        environ = {**ordeal.environ, "REDIS_URL": redis.url}
        fleet = Fleet(ordeal.url, environ, words=FLEET)
        with fleet.of(WORKERS):
            supervisor = fleet.start()
            while fleet.kills < most and not _has_ended(supervisor, every):
                fleet.kill_worker()
                fleet.hire()
            supervisor.communicate()
        ordeal.codes.append(supervisor.returncode)
        return fleet.kills

    return inflict


def _has_ended(process: subprocess.Popen[str], within: float) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def _disturb(ordeal: Ordeal, through: Ordeal, most: int, fault: Callable[[], object]) -> int:
    """Let one process work on a batch, and inflict a fault on its server at random times."""
    process, times = through.start(), 0
    wait_for_rows(ordeal.url, 1)
    while times < most:
        time.sleep(random.uniform(0.1, 0.6))  # noqa: S311 - a delay
        if process.poll() is not None:
            break
        fault()
        times += 1
    process.communicate()
    ordeal.codes.append(process.returncode)
    return times


@contextmanager
def _prepared(server: Postgres, rows: int) -> Iterator[str]:
    with server.database() as name:
        url = server.url(name)
        _migrate(ROOT, {**os.environ, "DATABASE_URL": url})
        make_tally(url, rows)
        yield url


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--shards", type=int, default=50, help="kills of runs with shards")
    parser.add_argument("--commits", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--workers", type=int, default=20, help="kills of workers of a fleet")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two workers")
    parser.add_argument("--imports", type=int, default=100, help="kills of imports")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
