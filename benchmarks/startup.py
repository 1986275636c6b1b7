"""Compare the start-up time of oneoff with its peers, as entire processes: `make bench-startup`.

Exit with 0 if all goals are met, 1 if one is missed, and 2 if a row could not be measured.
"""

import argparse
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import importtime
import workbench
from errors import NOT_MEASURED, BenchmarkError, run_script
from measure import check, interleaved, median
from report import Figures, header, summary
from rows import ROWS, Row
from workbench import OURS, Workbench

ENOUGH_RUNS = 9
SHOWN_PACKAGES = (
    "alembic",
    "asyncpg",
    "click",
    "cyclopts",
    "django",
    "flask",
    "flask-migrate",
    "psycopg",
    "sqlalchemy",
    "typer",
)


def main() -> int:
    """Measure the selected rows, print them, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that the server stops
    options = _parse()
    rows = _chosen(options)
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the user of the server must be able to enter the folder
        with workbench.opened(
            folder,
            with_ours=not options.peers_only,
            with_database=any(row.database for row in rows),
        ) as bench:
            if options.profile:
                return _profile(bench, rows)
            return _compare(bench, rows, options)


def _chosen(options: argparse.Namespace) -> list[Row]:
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    return [row for row in rows if not (options.peers_only and row.against_itself)]


def _compare(bench: Workbench, rows: Sequence[Row], options: argparse.Namespace) -> int:
    versions = _versions(bench)
    print(*(f"{name} {version}" for name, version in versions.items()), sep=", ")
    print("entire processes, interleaved, byte-compiled on all sides; medians of", options.runs)
    if options.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the results are not reliable")
    print(f"\n{header()}")
    figures: list[Figures] = []
    failed: list[Row] = []
    for row in rows:
        try:
            figures.append(_measure(bench, row, options.runs))
        except BenchmarkError as error:
            failed.append(row)
            print(f"{row.name} was not measured: {error}", file=sys.stderr, flush=True)
        else:
            print(*figures[-1].lines(), sep="\n", flush=True)
    print(f"\n{summary(figures, failed)}")
    if options.json:
        found = {"versions": versions, "rows": [one.as_json() for one in figures]}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if failed:
        return NOT_MEASURED
    return int(any(one.missed() for one in figures))


def _measure(bench: Workbench, row: Row, runs: int) -> Figures:
    cases = row.peers(bench)
    if row.ours and bench.ours:
        cases.append(row.ours(bench))
    for case in cases:
        check(case)
    medians = {
        side: median(samples) for side, samples in interleaved(cases, runs * row.rounds).items()
    }
    ours = medians.pop(OURS.name, None)
    return Figures(row, runs * row.rounds, medians, ours)


def _profile(bench: Workbench, rows: Sequence[Row]) -> int:
    for row in rows:
        if row.ours:
            case = row.ours(bench)
            check(case)
            print(f"{row.title}: {' '.join(case.argv[1:])}")
            print(importtime.table(importtime.profile(case)))
    return 0


def _versions(bench: Workbench) -> dict[str, str]:
    installed = bench.peers.versions()
    versions = {"python": platform.python_version()}
    if bench.server:
        versions["postgresql"] = bench.server.version()
    versions |= {name: installed[name] for name in SHOWN_PACKAGES}
    if bench.ours:
        versions[OURS.name] = bench.ours.versions()[OURS.name]
    return versions


def _parse() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=11, help="timed runs of each side (default 11)")
    parser.add_argument(
        "--only", action="append", choices=names, help="measure this row; may be repeated"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write results to FILE")
    parser.add_argument("--peers-only", action="store_true", help="measure only the peers")
    parser.add_argument(
        "--profile", choices=names, help="print the imports of our side of a row, and exit"
    )
    options = parser.parse_args()
    if options.profile:
        options.only = [options.profile]
    return options


if __name__ == "__main__":
    run_script(main)
