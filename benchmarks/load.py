"""What the users of a table notice of a cleanup: pgbench on it, before and while it runs.

Exits 0 when the 99th percentile rises by less than the goal, 1 when it rises more. Run it with the
project's own interpreter.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cleanup
import postgres
from errors import BenchmarkError

GOAL = 1.10
ENOUGH_RUNS = 3
CLIENTS = 4
FEWEST = 100  # transactions, for a percentile to mean something
FIELDS = 6  # of a line of pgbench's log, at least
COLUMNS = "{:<28} {:>12} {:>12} {:>12} {:>10}  {}"
# What an application does to such a table: it writes a row, reads a new one and changes another.
SCRIPT = """
\\set id random(:first, :last)
INSERT INTO events (at, kind, detail) VALUES (now(), 'session.opened', '');
SELECT detail FROM events WHERE id = :id;
UPDATE events SET detail = 'seen' WHERE id = :id;
"""


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="half of them are deleted")
    parser.add_argument("--seconds", type=int, default=30, help="of load before the cleanup")
    parser.add_argument("--rate", type=int, default=200, help="transactions a second")
    parser.add_argument("--duty", type=float, default=0.5, help="percent of the time at work")
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.running(Path(folder)) as server:
            cleanup.make_template(server, wanted.rows)
            runs = [_run(server, Path(folder), wanted) for _ in range(wanted.runs)]
    before, during, took = (statistics.median(column) for column in zip(*runs, strict=True))
    ratio = during / before
    verdict = f"goal < {GOAL:.2f} x: {'met' if ratio < GOAL else 'MISSED'}"
    head = ("p99 before ms", "p99 during", "cleanup s", "ratio", "")
    print(COLUMNS.format(f"{wanted.rate} transactions/s", *head).rstrip())
    figures = (f"{before:.1f}", f"{during:.1f}", f"{took:.1f}", f"{ratio:.2f}")
    title = f"{wanted.rows // 2:,} rows, --duty {wanted.duty:g}"
    print(COLUMNS.format(title, *figures, verdict))
    if wanted.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs decide nothing")
        return 0
    return 0 if ratio < GOAL else 1


def _run(
    server: postgres.Server, folder: Path, wanted: argparse.Namespace
) -> tuple[float, float, float]:
    """Return the 99th percentiles before and during the cleanup in ms, and its seconds."""
    cleanup.fresh(server)
    logs = folder / "pgbench"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    load = _start_load(server, logs, wanted)
    try:
        time.sleep(wanted.seconds)
        began = time.time()
        cleanup.by_ours(server, "--duty", str(wanted.duty))
        ended = time.time()
    finally:
        load.terminate()
        load.wait()
    waits = _latencies(logs)
    before = [wait for at, wait in waits if began - wanted.seconds + 2 < at < began]
    during = [wait for at, wait in waits if began <= at <= ended]
    if min(len(before), len(during)) < FEWEST:
        raise BenchmarkError("pgbench did too little while the cleanup ran; raise --rows or --rate")
    return _p99(before), _p99(during), ended - began


def _start_load(
    server: postgres.Server, logs: Path, wanted: argparse.Namespace
) -> subprocess.Popen[bytes]:
    script = logs / "script.sql"
    script.write_text(SCRIPT)
    # Rows that stay: those that go would be looked for in vain after a while.
    ids = ("-D", f"first={wanted.rows // 2 + 10_000}", "-D", f"last={wanted.rows}")
    rate = ("-c", str(CLIENTS), "-R", str(wanted.rate), "-T", "3600", "-l")
    target = ("-h", "127.0.0.1", "-p", str(server.port), "-U", postgres.USER, "run")
    return subprocess.Popen(
        [str(server.bin / "pgbench"), "-n", "-f", str(script), *ids, *rate, *target],
        cwd=logs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )


def _latencies(logs: Path) -> list[tuple[float, float]]:
    """Return when each transaction ended, and the milliseconds that it took with its waiting."""
    found = []
    for file in logs.glob("pgbench_log.*"):
        for line in file.read_text().splitlines():
            # client, number, latency in us, script, seconds, microseconds, lag in us
            fields = line.split()
            if len(fields) >= FIELDS and fields[2].isdigit():
                found.append((int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1000))
    return found


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


if __name__ == "__main__":
    sys.exit(main())
