"""Time entire processes, one of each side in turn.

With interleaved runs (A B C A B C ...) a slow phase of the machine affects all sides equally, and
the median removes outliers.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError

SHOWN_OUTPUT = 2_000  # characters of a failed command's output to show; the end has the reason


@dataclass(frozen=True)
class Case:
    """One command line of one side, and how to check that it did its work."""

    side: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    expect: str = ""  # must be in the output
    forbid: str | None = None  # must not be in the output
    exit_code: int = 0
    before: Callable[[], None] | None = None  # is called before each run; not timed


def check(case: Case) -> str:
    """Run a case once without timing it, and return its output.

    This ensures that no failing command is timed.

    Raises:
        BenchmarkError: The exit code or the output is not the expected one.
    """
    if case.before:
        case.before()
    done = subprocess.run(
        case.argv,
        cwd=case.cwd,
        env=case.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != case.exit_code:
        _reject(case, f"exit code {done.returncode}, not {case.exit_code}", done.stdout)
    if case.expect not in done.stdout:
        _reject(case, f"no {case.expect!r} in its output", done.stdout)
    if case.forbid is not None and case.forbid in done.stdout:
        _reject(case, f"{case.forbid!r} in its output", done.stdout)
    return done.stdout


def interleaved(cases: Sequence[Case], runs: int) -> dict[str, list[float]]:
    """Return the milliseconds of each run, by side, after one warm-up round."""
    samples: dict[str, list[float]] = {case.side: [] for case in cases}
    for round_number in range(runs + 1):
        for case in cases:
            elapsed = _time(case)
            if round_number > 0:
                samples[case.side].append(elapsed)
    return samples


def median(samples: Sequence[float]) -> float:
    """Return the median, in milliseconds to one decimal."""
    return round(statistics.median(samples), 1)


def _time(case: Case) -> float:
    if case.before:
        case.before()
    start = time.perf_counter()
    process = subprocess.Popen(
        case.argv,
        cwd=case.cwd,
        env=case.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    exit_code = process.wait()
    elapsed = time.perf_counter() - start
    if exit_code != case.exit_code:
        raise BenchmarkError(f"{case.side} ended with {exit_code} while it was timed")
    return elapsed * 1000


def _reject(case: Case, why: str, output: str) -> None:
    command = " ".join(case.argv)
    end = output[-SHOWN_OUTPUT:]
    raise BenchmarkError(f"{case.side} did not do its work: {why}\n  {command}\n{end}")
