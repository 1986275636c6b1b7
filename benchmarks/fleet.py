"""Measure how a batch scales with worker processes. Each worker processes one shard at a time.

Starts real workers, PostgreSQL and Redis. The time is measured in the database, from the start of
the first shard to the end of the last one. Exits with 1 if two workers are less than 1.6 times as
fast as one for work that waits. The other cases show what limits the speed.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from tests.support.database import query  # noqa: E402 - the project is found by the line above
from tests.support.fleet_faults import Fleet  # noqa: E402
from tests.support.servers import running_postgres, running_redis  # noqa: E402
from tests.support.tally_project import execute, make_tally, times_done  # noqa: E402

GOAL = 1.6
ENOUGH_RUNS = 5
SHARDS = "8"
COLUMNS = "{:<34} {:>8} {:>10} {:>10} {:>7}  {}"
WAITING = "work that waits, 50 ms a batch"
CASES = {
    WAITING: ("tally", "add", "--slow", "0.05"),
    "rows changed by Python": ("tally", "add"),
    "one statement a range": ("tally", "raise-all"),
}
ANEW = "UPDATE tally SET n = 0; DELETE FROM oneoff_batches; DELETE FROM oneoff_runs;"
SECONDS = """
SELECT extract(epoch FROM max(b.finished_at) - min(r.started_at))::float
FROM oneoff_batches AS b JOIN oneoff_runs AS r ON r.id = b.run_id WHERE b.parent <> ''
"""


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    wanted = parser.parse_args()
    print(f"{os.cpu_count()} cores, shared by the workers, PostgreSQL and Redis")
    print(COLUMNS.format(f"{wanted.rows:,} rows", "workers", "ms", "rows/s", "ratio", ""))
    with _prepared(wanted.rows) as (url, environ):
        ratios = {title: _scale(url, environ, title, wanted) for title in CASES}
    if wanted.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the goal is not judged")
        return 0
    return 0 if ratios[WAITING].get(2, GOAL) >= GOAL else 1


def _scale(
    url: str, environ: dict[str, str], title: str, wanted: argparse.Namespace
) -> dict[int, float]:
    ratios: dict[int, float] = {}
    alone = 0.0
    for workers in wanted.workers:
        took = statistics.median(
            _time(url, environ, title, workers, wanted.rows) for _ in range(wanted.runs)
        )
        alone = alone or took
        ratios[workers] = alone / took
        judged = title == WAITING and workers == 2  # noqa: PLR2004 - the goal is for two workers
        verdict = "met" if ratios[workers] >= GOAL else "MISSED"
        note = f"goal >= {GOAL}: {verdict}" if judged else ""
        shown = (f"{took * 1000:.0f}", f"{wanted.rows / took:,.0f}", f"{ratios[workers]:.2f}")
        print(COLUMNS.format(title, workers, *shown, note), flush=True)
    return ratios


def _time(url: str, environ: dict[str, str], title: str, workers: int, rows: int) -> float:
    execute(url, ANEW)
    execute(url, "VACUUM FULL tally")
    words = (*CASES[title], "--shards", SHARDS, "--fleet", "--confirm")
    fleet = Fleet(url, environ, words=words)
    with fleet.of(workers):
        supervisor = fleet.start()
        said = supervisor.communicate()[1]
    assert supervisor.returncode == os.EX_OK, said
    assert times_done(url) == {1: rows}, times_done(url)
    seconds: float = query(url, SECONDS)[0][0]
    return seconds


@contextmanager
def _prepared(rows: int) -> Iterator[tuple[str, dict[str, str]]]:
    with running_postgres() as server, server.database() as name, running_redis() as redis:
        url = server.url(name)
        environ = {**os.environ, "DATABASE_URL": url, "ENVIRONMENT": "test"}
        migrate = [sys.executable, "manage.py", "migrate"]
        subprocess.run(migrate, cwd=ROOT, env=environ, check=True, capture_output=True)
        make_tally(url, rows)
        yield url, {"REDIS_URL": redis.url, "TALLY_JOBS": "1", "TALLY_BATCH": "200"}


if __name__ == "__main__":
    sys.exit(main())
