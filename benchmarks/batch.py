"""Measure the cost of a batch's checkpoints, and the rows per second of a batch.

Run the same loop with and without checkpoints, in turn, on a temporary PostgreSQL server. Exit with
0 if the goal is met and 1 if it is missed. Start the script with the project's interpreter.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from oneoff.services.batch.command import BatchCommand  # noqa: E402 - the project is found by the line above
from oneoff.services.batch.rows.cursor import encode  # noqa: E402
from oneoff.services.batch.rows.selection import StepResult  # noqa: E402
from oneoff.services.batch.state import checkpoints  # noqa: E402
from oneoff.services.batch.state.checkpoints import (  # noqa: E402
    Checkpoint,
    State,
)
from oneoff.testing import Manage  # noqa: E402
from tests.support.servers import running_postgres  # noqa: E402
from tests.support.tally_commands.tally.add import Add  # noqa: E402
from tests.support.tally_commands.tally.raise_all import RaiseAll  # noqa: E402
from tests.support.tally_project import NAME, execute, make_tally, times_done  # noqa: E402

GOAL = 1.10
BATCH = 1_000
ENOUGH_RUNS = 9
COLUMNS = "{:<34} {:>12} {:>12} {:>12} {:>7}  {}"
CASES: dict[str, type[BatchCommand]] = {"tally add": Add, "tally raise-all": RaiseAll}
TITLES = {"tally add": "rows changed by Python", "tally raise-all": "one statement a range"}
ANEW = "UPDATE tally SET n = 0; DELETE FROM oneoff_batches; VACUUM FULL tally;"


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS)
    wanted = parser.parse_args()
    print(COLUMNS.format(f"{wanted.rows:,} rows", "without ms", "with ms", "rows/s", "ratio", ""))
    with running_postgres() as server, server.database() as name:
        environ = {"DATABASE_URL": server.url(name), "ENVIRONMENT": "test", "LOG_LEVEL": "error"}
        asyncio.run(_run(Manage("app.project:project", str(ROOT), environ), "migrate"))
        make_tally(environ["DATABASE_URL"], wanted.rows)
        met = [_compare(environ, line, wanted) for line in CASES]
    if wanted.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the goal is not judged")
        return 0
    return 0 if all(met) else 1


def _compare(environ: dict[str, str], line: str, wanted: argparse.Namespace) -> bool:
    CASES[line].batch_size = CASES[line].largest_batch = BATCH
    bare, saved = [], []
    for _ in range(wanted.runs):
        with _without_checkpoints():
            bare.append(_time(environ, line, wanted.rows))
        saved.append(_time(environ, line, wanted.rows))
    before, after = statistics.median(bare), statistics.median(saved)
    ratio, rate = after / before, wanted.rows / after
    verdict = "met" if ratio <= GOAL else "MISSED"
    shown = (f"{before * 1000:.0f}", f"{after * 1000:.0f}", f"{rate:,.0f}", f"{ratio:.3f}")
    print(COLUMNS.format(TITLES[line], *shown, f"goal <= {GOAL:.2f}: {verdict}"), flush=True)
    return ratio <= GOAL


def _time(environ: dict[str, str], line: str, rows: int) -> float:
    url = environ["DATABASE_URL"]
    for statement in ANEW.split(";")[:-1]:
        execute(url, statement)
    started = time.perf_counter()
    asyncio.run(_run(Manage(NAME, str(ROOT), environ), f"{line} --confirm"))
    seconds = time.perf_counter() - started
    assert times_done(url) == {1: rows}, times_done(url)
    return seconds


async def _run(manage: Manage, line: str) -> None:
    done = await manage(line)
    assert done.exit_code == os.EX_OK, done.stderr


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Keep the checkpoints in memory instead of the database."""

    async def remember(_connection: Any, mine: Checkpoint, step: StepResult) -> Checkpoint:
        return replace(
            mine,
            cursor=mine.cursor if step.key is None else encode(step.key),
            rows_done=mine.rows_done + step.done,
            run_rows=mine.run_rows + step.changed,
            state=State.FINISHED if step.last else State.RUNNING,
        )

    with mock.patch.object(checkpoints, "save", remember):
        yield


if __name__ == "__main__":
    sys.exit(main())
