"""Measure how a cleanup affects other users of the table: pgbench runs with and without it.

The cleanup works and pauses in turn, a few seconds each. The speed of a machine changes from minute
to minute, so one long phase of each would compare different conditions. Exit with 0 if the 99th
percentile rises by less than the goal, else 1. Start the script with the project's interpreter.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import cleanup
import postgres
from errors import BenchmarkError

GOAL = 1.10
ENOUGH_RUNS = 3
CLIENTS = 4
FEWEST = 100  # transactions on each side; with fewer, a percentile is meaningless
FIELDS = 6  # a line of pgbench's log has at least this many fields
COLUMNS = "{:<28} {:>12} {:>12} {:>12} {:>10}  {}"
SETTLES = 2  # seconds until a pause or resume has taken effect; a batch reads it twice a second
ASK = "UPDATE oneoff_batches SET requested = '{}' WHERE finished_at IS NULL"
Span = tuple[float, float]
# A typical load on such a table: insert a row, then read and change a newer one.
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
    parser.add_argument(
        "--seconds", type=int, default=20, help="length of a working phase; a pause is half of it"
    )
    parser.add_argument("--rate", type=int, default=200, help="transactions per second")
    parser.add_argument("--duty", type=float, default=0.25, help="duty of the cleanup in percent")
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.running(Path(folder)) as server:
            cleanup.make_template(server, wanted.rows)
            runs = [_run(server, Path(folder), wanted) for _ in range(wanted.runs)]
    without, during, took = (statistics.median(column) for column in zip(*runs, strict=True))
    ratio = statistics.median(during / without for without, during, _ in runs)
    verdict = f"goal < {GOAL:.2f} x: {'met' if ratio < GOAL else 'MISSED'}"
    head = ("p99 without", "p99 with, ms", "working s", "ratio", "")
    print(COLUMNS.format(f"{wanted.rate} transactions/s", *head).rstrip())
    figures = (f"{without:.1f}", f"{during:.1f}", f"{took:.1f}", f"{ratio:.2f}")
    title = f"{wanted.rows // 2:,} rows, --duty {wanted.duty:g}"
    print(COLUMNS.format(title, *figures, verdict))
    if wanted.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the goal is not judged")
        return 0
    return 0 if ratio < GOAL else 1


def _run(
    server: postgres.Server, folder: Path, wanted: argparse.Namespace
) -> tuple[float, float, float]:
    """Return the 99th percentile without and with the cleanup in ms, and its working seconds."""
    cleanup.fresh(server)
    logs = folder / "pgbench"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    load = _start_load(server, logs, wanted)
    try:
        time.sleep(SETTLES)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(cleanup.by_ours, server, "--duty", str(wanted.duty))
            at_work, paused = _alternate(server, done, wanted.seconds)
    finally:
        load.terminate()
        load.wait()
    waits = _latencies(logs)
    sides = [[wait for at, wait in waits if _within(at, spans)] for spans in (paused, at_work)]
    if min(map(len, sides)) < FEWEST:
        raise BenchmarkError("pgbench did too little while the cleanup ran; raise --rows or --rate")
    return _p99(sides[0]), _p99(sides[1]), sum(end - begin for begin, end in at_work)


def _alternate(
    server: postgres.Server, done: Future[float], seconds: int
) -> tuple[list[Span], list[Span]]:
    """Pause and resume the batch until it ends; return its working and its paused phases."""
    at_work: list[Span] = []
    paused: list[Span] = []
    began = time.time()  # the first phase includes the start of the process
    while not done.done():
        wait([done], timeout=seconds)
        at_work.append((began, time.time()))
        if done.done():
            break
        server.query("run", ASK.format("pause"))
        time.sleep(SETTLES)
        began = time.time()
        time.sleep(seconds / 2)  # half a phase has enough transactions for the comparison
        paused.append((began, time.time()))
        server.query("run", ASK.format(""))
        time.sleep(SETTLES)
        began = time.time()
    done.result()
    return at_work, paused


def _within(at: float, spans: list[Span]) -> bool:
    return any(begin <= at <= end for begin, end in spans)


def _start_load(
    server: postgres.Server, logs: Path, wanted: argparse.Namespace
) -> subprocess.Popen[bytes]:
    script = logs / "script.sql"
    script.write_text(SCRIPT)
    # Use only rows that the cleanup keeps. After a while, the others would no longer be found.
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
    """Return the end of each transaction, and its milliseconds including the wait to start."""
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
