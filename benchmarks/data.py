"""Compare `data export` and `data import` with other tools, as entire processes: `make bench-data`.

The table has 1,000,000 users (id, two texts, role, bool, timestamptz). Exit with 0 if all goals are
met, 1 if one is missed, and 2 if something could not be measured. Start the script with the
project's interpreter.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import postgres
from data_compare import compare, compare_memory, print_head
from data_export import FORMATS, Exports
from data_import import Imports
from data_shop import Shop
from errors import run_script

ROWS = 1_000_000
ENOUGH_RUNS = 9
EXPORTS = (*FORMATS, "sqlite")
IMPORTS = (
    "import",
    "import-skip",
    "import-update",
    "import-same",
    "import-bad",
    "import-rejects",
    "import-sqlite",
)
GROWING = ("csv", "jsonl", "sql", "import")
"""Rows whose memory must not grow with the number of rows. A Parquet file has a growing index."""
ALL = (*EXPORTS, *IMPORTS, "memory")


def main() -> int:
    """Measure the selected rows, print them, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that the server stops
    options = _parse()
    if options.runs < ENOUGH_RUNS or options.rows < ROWS:
        print("fewer runs or rows than the goals need: the results are not reliable")
    print_head()
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as place:
        folder = Path(place)
        folder.chmod(0o711)  # the user of the server must be able to enter the folder
        with postgres.running(folder) as server:
            shop = Shop(folder, server, options.rows)
            exports, imports = Exports(shop), Imports(shop)
            for name in options.only:
                if name == "memory":
                    missed += _memory(exports, imports, shop)
                else:
                    row = (exports if name in EXPORTS else imports).row(name)
                    missed += compare(row, shop.environ(), options)
    print(f"\ngoals MISSED: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def _memory(exports: Exports, imports: Imports, shop: Shop) -> list[str]:
    """Show the memory for a tenth of the rows, for all, and for twice as many."""
    rows = (shop.rows // 10, shop.rows, 2 * shop.rows)
    missed = []
    for name in GROWING:
        sides = imports.growing(rows) if name in IMPORTS else exports.growing(name, rows)
        missed += compare_memory(name, sides, shop.environ())
    return missed


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS, help="timed runs of each side")
    parser.add_argument("--rows", type=int, default=ROWS, help="number of rows of the table")
    parser.add_argument(
        "--only", action="append", choices=ALL, help="measure this; may be repeated"
    )
    parser.add_argument("--fast", action="store_true", help="skip the slow peers")
    options = parser.parse_args()
    # Keep the order of ALL: `memory` comes last, because it adds rows to the table.
    options.only = [name for name in ALL if name in (options.only or ALL)]
    return options


if __name__ == "__main__":
    run_script(main)
