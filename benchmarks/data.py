"""Compare `data export` and `data import` with their peers, in whole processes: `make bench-data`.

1,000,000 rows of users (id, two texts, role, bool, timestamptz). Exits 0 when every goal is met, 1
when one is missed, 2 when something could not be measured. Run it with the project's own
interpreter.
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
"""Whose memory is the same for any number of rows; a Parquet file keeps an index of its groups."""
ALL = (*EXPORTS, *IMPORTS, "memory")


def main() -> int:
    """Measure the rows asked for and print them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, and stops the server
    options = _parse()
    if options.runs < ENOUGH_RUNS or options.rows < ROWS:
        print("fewer runs or rows than the goals are for: an impression, not a result")
    print_head()
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as place:
        folder = Path(place)
        folder.chmod(0o711)  # the server's user must reach its data
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
    """Show the memory for a tenth, for all and for twice the rows."""
    rows = (shop.rows // 10, shop.rows, 2 * shop.rows)
    missed = []
    for name in GROWING:
        sides = imports.growing(rows) if name in IMPORTS else exports.growing(name, rows)
        missed += compare_memory(name, sides, shop.environ())
    return missed


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS, help="timed runs a side")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table")
    parser.add_argument(
        "--only", action="append", choices=ALL, help="measure this; may be repeated"
    )
    parser.add_argument("--fast", action="store_true", help="leave out the slow peers")
    options = parser.parse_args()
    # In this order: the rows for `memory` are more than those that others are measured with.
    options.only = [name for name in ALL if name in (options.only or ALL)]
    return options


if __name__ == "__main__":
    run_script(main)
