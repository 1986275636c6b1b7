"""Delete half of a table by age: `data cleanup` beside one DELETE, and what others wait meanwhile.

Both in turn, each on a fresh copy of the same database. The goal is for the batch, from its claim
to the closed record; the whole process has a line of its own. Exits 0 when the goals are met, 1
when one is missed. Run it with the project's own interpreter.
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
    # The root's own folder can't be entered by the user that the server runs as.
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
    _line("the same, whole process", process, process / base, [], "")
    if runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs decide nothing")
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
    """Make the database that each run copies: half of its events are old."""
    server.create_database("shop")
    _manage(server, "shop", "migrate")
    server.query("shop", FILL.format(rows=rows, half=rows // 2))
    server.query("shop", "VACUUM ANALYZE events")


def fresh(server: postgres.Server) -> None:
    """Copy the database anew."""
    server.query("postgres", "DROP DATABASE IF EXISTS run")
    server.query("postgres", "CREATE DATABASE run TEMPLATE shop")
    server.query("postgres", "CHECKPOINT")


def _alone(server: postgres.Server, rows: int, work: Callable[[], float]) -> float:
    fresh(server)
    took = work()
    left = int(server.query("run", LEFT))
    # The last rows get old while the benchmark runs.
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
    """Run the command as a whole process; return its milliseconds."""
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
