"""Compare `data cleanup` with one DELETE, for half of a table, and measure how long others wait.

Both run in turn, each on a new copy of the same database. The goal applies to the batch, from its
claim to the closed record. The time of the entire process is a separate line. Exit with 0 if the
goals are met and 1 if one is missed. Start the script with the project's interpreter.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import postgres

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GOAL, WAIT_GOAL = 1.6, 10.0
ENOUGH_RUNS = 9
DAYS = 90
COLUMNS = "{:<44} {:>9} {:>7} {:>13} {:>10}  {}"
FILL = """
INSERT INTO events (at, kind, detail)
SELECT now() - make_interval(days => 90) + (i - {half}) * interval '1 second', 'session.opened', ''
FROM generate_series(1, {rows}) i
"""
ONE = "DELETE FROM events WHERE at < now() - make_interval(days => 90)"
OURS = ("data", "cleanup", "--only", "events", "--days", str(DAYS), "--confirm", "--json")
TOOK = """
SELECT extract(epoch FROM r.finished_at - b.started_at) * 1000
FROM oneoff_batches b JOIN oneoff_runs r ON r.id = b.run_id
"""
LEFT = "SELECT count(*) FROM events"


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS)
    wanted = parser.parse_args()
    # As root, the server runs as another user, which can't enter a folder with mode 700.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.running(Path(folder)) as server:
            return _measure(server, wanted.rows, wanted.runs)


def _measure(server: postgres.Server, rows: int, runs: int) -> int:
    make_template(server, rows)
    one, ours, whole = [], [], []
    for _ in range(runs):
        one.append(_alone(server, rows, lambda: _psql(server)))
        whole.append(_alone(server, rows, lambda: by_ours(server)))
        ours.append(float(server.query("run", TOOK)))
    waits_one = [_watched(server, rows, lambda: _psql(server)) for _ in range(min(runs, 3))]
    waits = [_watched(server, rows, lambda: by_ours(server)) for _ in range(runs)]
    base, took = statistics.median(one), statistics.median(ours)
    worst = statistics.median(wait[0] for wait in waits)
    print(
        COLUMNS.format(f"{rows // 2:,} of {rows:,} rows", "ms", "ratio", "worst wait ms", "p99", "")
    )
    _line("one DELETE, psql", base, 1, waits_one, "")
    verdicts = (took / base <= GOAL, worst <= WAIT_GOAL)
    said = [
        f"goal <= {GOAL:g} x: {'met' if verdicts[0] else 'MISSED'}",
        f"wait <= {WAIT_GOAL:g} ms: {'met' if verdicts[1] else 'MISSED'}",
    ]
    _line("data cleanup, with checkpoints and record", took, took / base, waits, ", ".join(said))
    process = statistics.median(whole)
    _line("the same, entire process", process, process / base, [], "")
    if runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the goals are not judged")
        return 0
    return 0 if all(verdicts) else 1


def _line(
    title: str, took: float, ratio: float, waits: list[tuple[float, float]], end: str
) -> None:
    worst = f"{statistics.median(wait[0] for wait in waits):.1f}" if waits else ""
    p99 = f"{statistics.median(wait[1] for wait in waits):.1f}" if waits else ""
    print(
        COLUMNS.format(title, f"{took:.0f}", f"{ratio:.2f}", worst, p99, end).rstrip(), flush=True
    )


def make_template(server: postgres.Server, rows: int) -> None:
    """Create the database that each run copies. Half of its events are old."""
    server.create_database("shop")
    _manage(server, "shop", "migrate")
    server.query("shop", FILL.format(rows=rows, half=rows // 2))
    server.query("shop", "VACUUM ANALYZE events")


def fresh(server: postgres.Server) -> None:
    """Replace the database `run` with a new copy."""
    server.query("postgres", "DROP DATABASE IF EXISTS run")
    server.query("postgres", "CREATE DATABASE run TEMPLATE shop")
    server.query("postgres", "CHECKPOINT")


def _alone(server: postgres.Server, rows: int, work: Callable[[], float]) -> float:
    fresh(server)
    took = work()
    left = int(server.query("run", LEFT))
    # More rows become old while the benchmark runs, at most one per second.
    assert rows // 2 - 3_600 <= left <= rows // 2, left
    return took


def _watched(server: postgres.Server, rows: int, work: Callable[[], float]) -> tuple[float, float]:
    fresh(server)
    url = server.url("run").replace("postgres://", "postgresql://")
    watcher = subprocess.Popen(
        [sys.executable, str(HERE / "frontier.py"), url, str(rows // 2)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout
    watcher.stdout.readline()
    work()
    said, _ = watcher.communicate("\n", timeout=60)
    worst, p99, _number = said.split()
    return float(worst), float(p99)


def _psql(server: postgres.Server) -> float:
    started = time.perf_counter()
    server.query("run", ONE)
    return (time.perf_counter() - started) * 1000


def by_ours(server: postgres.Server, *words: str) -> float:
    """Run the command as a process; return its milliseconds."""
    started = time.perf_counter()
    _manage(server, "run", *OURS, *words)
    return (time.perf_counter() - started) * 1000


def _manage(server: postgres.Server, database: str, *words: str) -> None:
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "DATABASE_URL": server.url(database),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "error",
    }
    subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=environ,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


if __name__ == "__main__":
    sys.exit(main())
