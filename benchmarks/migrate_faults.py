"""Migrate with many processes at once, and kill migrations, beside plain Alembic and Django.

Each side migrates the same revisions on databases of its own, on a temporary PostgreSQL server.
Prints how many processes failed, and how many databases were not at the last revision afterwards.
Exits with 1 if one of ours failed. Takes about ten minutes.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import workbench
from measure import Case
from postgres import Server
from workbench import (
    ASYNC_ALEMBIC,
    DJANGO,
    FEW,
    LAST_FIELD,
    LAST_FIELD_FOUND,
    OURS,
    Side,
    Workbench,
)

COLUMNS = "{:<26} {:<16} {:>10} {:>7} {:>13}"
SIDES = (OURS, ASYNC_ALEMBIC, DJANGO)
PATIENCE = 300
"""Seconds after which a process counts as failed."""


def main() -> int:
    """Run both faults on each side and return the exit code."""
    wanted = _parse()
    print(COLUMNS.format("fault", "side", "processes", "failed", "not at head"))
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the user of the server must be able to enter the folder
        return _compare(folder, wanted)


def _compare(folder: Path, wanted: argparse.Namespace) -> int:
    ours_failed = 0
    with workbench.opened(folder, with_ours=True, with_database=True) as bench:
        for title, fault, times in (
            (f"{wanted.processes} at once", _at_once(wanted.processes), wanted.rounds),
            ("kill -9, then once more", _killed, wanted.kills),
        ):
            for side in SIDES:
                ours_failed += _suffer(bench, side, title, fault, times) * (side is OURS)
    return 1 if ours_failed else 0


Fault = Callable[[Case], list[int]]
"""Inflicts a fault on a migration; returns the exit codes of the processes that must succeed."""


def _suffer(bench: Workbench, side: Side, title: str, fault: Fault, times: int) -> int:
    """Inflict a fault on new databases, print what came of it, and return how much is wrong."""
    codes, short = [], 0
    for case, is_at_head in _new_databases(bench, side, title, times):
        codes += fault(case)
        short += not is_at_head()
    failed = sum(code != 0 for code in codes)
    print(COLUMNS.format(title, side.name, len(codes), failed, f"{short} of {times}"), flush=True)
    return failed + short


def _new_databases(
    bench: Workbench, side: Side, title: str, times: int
) -> Iterator[tuple[Case, Callable[[], bool]]]:
    server = bench.server
    assert server is not None, "the workbench was opened with a database"
    for number in range(times):
        name = f"{side.name}_{title}_{number}".replace(", ", "_").replace(" ", "_")
        server.create_database(name)
        settings = {"DATABASE_URL": server.url(name)}
        case = bench.case(side, *side.migrate, expect="", commands=FEW, env=settings)
        yield case, partial(_is_at_head, server, name)


def _is_at_head(server: Server, database: str) -> bool:
    return server.query(database, LAST_FIELD_FOUND) == LAST_FIELD


def _start(case: Case) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        case.argv,
        cwd=case.cwd,
        env=case.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _at_once(processes: int) -> Fault:
    def inflict(case: Case) -> list[int]:
        started = [_start(case) for _ in range(processes)]
        return [process.wait(PATIENCE) for process in started]

    return inflict


def _killed(case: Case) -> list[int]:
    """Kill a migration at a random point, and run it once more to its end at once."""
    process = _start(case)
    time.sleep(random.uniform(0.2, 2.0))  # noqa: S311 - a delay
    process.kill()
    process.wait()
    return [_start(case).wait(PATIENCE)]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--processes", type=int, default=20, help="migrations at once (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=10, help="databases of each side (%(default)s)"
    )
    parser.add_argument("--kills", type=int, default=20, help="kills of each side (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
