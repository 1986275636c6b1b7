"""Show each burst of a command of the reference project, on a temporary PostgreSQL server.

The database is migrated, and has the users ada and bob. Example:

    python -m tests.support.bursts --round-trip 25 user promote ada admin --confirm
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.support.bursts.proxy import Trace, far
from tests.support.servers import running_postgres

USERS = ("ada", "bob")


def main() -> int:
    """Run the command behind the proxy, and return its exit code."""
    options = _parse()
    with running_postgres() as server, server.database() as name:
        environ = {**os.environ, "DATABASE_URL": server.url(name), "ENVIRONMENT": "test"}
        if not options.empty:
            _prepare(environ)
        with far(server.port, options.round_trip / 1000) as proxy:
            environ["DATABASE_URL"] = proxy.url(server.url(name))
            with proxy.record() as trace:
                start = time.monotonic()
                done = _manage(options.words, environ)
                seconds = time.monotonic() - start
    print(*lines(trace, options.width), sep="\n")
    print(f"{seconds:.2f} s, {trace.waits} bursts one after the other")
    return done


def lines(trace: Trace, width: int = 160) -> list[str]:
    """Return the bursts of a trace as text, by connection."""
    shown = [f"{trace.count} bursts, without those of a login"]
    for number, connection in enumerate(trace.connections, 1):
        shown.append(f"\nconnection {number}: {len(connection.bursts)} bursts")
        for place, burst in enumerate(connection.sent, 1):
            text = " | ".join(_short(str(one), width) for one in burst.messages) or "(encrypted)"
            ignored = "" if burst.answered else "  (did not wait for an answer)"
            shown.append(f"{place:4}  {text}{ignored}")
    return shown


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _prepare(environ: Mapping[str, str]) -> None:
    for words in (
        ("migrate",),
        *(f"user create {name} {name}@example.com --generate-password".split() for name in USERS),
    ):
        if code := _manage(words, environ, quiet=True):
            raise SystemExit(code)


def _manage(words: Sequence[str], environ: Mapping[str, str], *, quiet: bool = False) -> int:
    if quiet:
        environ = {**environ, "LOG_LEVEL": "error"}
    out = subprocess.DEVNULL if quiet else None
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, env=environ, stdout=out, check=False).returncode


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--round-trip", type=float, default=25, metavar="MS", help="default: 25")
    parser.add_argument("--width", type=int, default=160, help="characters of each statement")
    parser.add_argument("--empty", action="store_true", help="start with an empty database")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="the command line")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
