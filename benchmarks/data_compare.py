"""Compare the time and the peak memory of processes that run in turn."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError

REPOSITORY = Path(__file__).resolve().parent.parent
SLOW_EVERY = 3
"""Slow peers, which take tens of seconds, run in every third round: the ratio is clear anyway."""
MEMORY = 90.0
"""The maximum memory of our commands in MiB."""
GROWTH = 1.1
"""The maximum memory for twice the rows, as a multiple of that for a tenth of the rows."""
SMALL = 0.2
"""Smaller ratios are shown as a fraction."""
SHOWN_OUTPUT = 2_000
COLUMNS = "{:<16} {:<34} {:>8} {:>6} {:>9} {:>8}"


@dataclass(frozen=True)
class Side:
    """A program that does the work of a row.

    Attributes:
        name: The name in the table.
        argv: The command line.
        before: Is called before each run; not timed.
        check: Raises BenchmarkError if the work was not done; not timed.
        goal: Our maximum time as a multiple of this side's; with `faster`, how many times faster
            ours must be.
        faster: Changes the meaning of `goal`.
        slow: Run it in every third round only.
        share: The share of the rows that it processes, if all would take too long. Its time is
            scaled.
        exit_code: The expected exit code.
        cwd: The folder in which it is started.
    """

    name: str
    argv: Sequence[str]
    before: Callable[[], None]
    check: Callable[[], None]
    goal: float | None = None
    faster: bool = False
    slow: bool = False
    share: float = 1
    exit_code: int = 0
    cwd: Path = REPOSITORY


@dataclass(frozen=True)
class Row:
    """One row of the comparison: our side, its peers, and our maximum memory in MiB."""

    name: str
    ours: Side
    peers: Sequence[Side]
    memory: float = MEMORY


@dataclass(frozen=True)
class Run:
    """One run: its seconds, and its peak memory in MiB."""

    seconds: float
    memory: float


def print_head() -> None:
    """Print the names of the columns."""
    print(COLUMNS.format("row", "side", "time, s", "MiB", "ours/peer", "goal"))


def compare(row: Row, environ: dict[str, str], options: argparse.Namespace) -> list[str]:
    """Measure a row, print it, and return its missed goals."""
    sides = [side for side in (*row.peers, row.ours) if not (side.slow and options.fast)]
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for number in range(options.runs + 1):  # the first round warms up
        for side in sides:
            if side.slow and number % SLOW_EVERY != 1:
                continue
            run = measure(side, environ)
            if number:
                runs[side.name].append(run)
    middle = {
        name: Run(statistics.median(r.seconds for r in of), max(r.memory for r in of))
        for name, of in runs.items()
    }
    ours = middle[row.ours.name]
    missed = [problem for side in sides if (problem := _shown(row, side, middle[side.name], ours))]
    if ours.memory > row.memory:
        missed.append(f"{row.name}: {ours.memory:.0f} MiB > {row.memory:.0f} MiB")
    return missed


def compare_memory(name: str, sides: Sequence[Side], environ: dict[str, str]) -> list[str]:
    """Print our memory for each number of rows; return the missed goals."""
    peaks = [measure(side, environ).memory for side in sides]
    print(f"memory of {name}: {', '.join(f'{peak:.0f}' for peak in peaks)} MiB")
    sys.stdout.flush()
    if peaks[-1] > min(MEMORY, peaks[0] * GROWTH):
        return [f"memory of {name} grows from {peaks[0]:.0f} to {peaks[-1]:.0f} MiB"]
    return []


def measure(side: Side, environ: dict[str, str]) -> Run:
    """Run a side once.

    Raises:
        BenchmarkError: The side failed, or did not do its work.
    """
    side.before()
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            side.argv, cwd=side.cwd, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != side.exit_code:
            said.seek(0)
            output = said.read().decode()[-SHOWN_OUTPUT:]
            raise BenchmarkError(f"{side.name} ended with {process.returncode}:\n{output}")
    side.check()
    return Run(seconds / side.share, usage.ru_maxrss / 1024)


def _shown(row: Row, side: Side, middle: Run, ours: Run) -> str:
    ratio = ours.seconds / middle.seconds
    goal, met = "", True
    if side.goal and side.faster:
        goal, met = f">= {side.goal:.0f} x", ratio * side.goal <= 1
    elif side.goal:
        goal, met = f"<= {side.goal:.2f}", ratio <= side.goal
    shown = "" if side is row.ours else f"{ratio:.2f}" if ratio > SMALL else f"1/{1 / ratio:.0f}"
    name = side.name if side.share == 1 else f"{side.name} (x {1 / side.share:.0f})"
    figures = (f"{middle.seconds:.2f}", f"{middle.memory:.0f}", shown, goal)
    print(COLUMNS.format(row.name, name, *figures).rstrip(), "" if met else "MISSED")
    sys.stdout.flush()
    return "" if met else f"{row.name} against {side.name}: {shown}, {goal}"
