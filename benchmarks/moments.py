"""Disturb every command at single messages and in its output, and count how often its work is done.

Starts real processes on a temporary PostgreSQL and Redis server, through proxies. Each command is
repeated as its exit code says. Exits with 1 if a run reported something wrong, or if work was done
twice or not at all. Takes about half an hour with the default options, many hours with `--all`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.moments.deeds import PROJECT, deeds  # noqa: E402 - found by the line above
from tests.support.moments.launch import Launcher, launching  # noqa: E402
from tests.support.moments.shipped import NOT_TRIED, Shipped  # noqa: E402
from tests.support.moments.trial import MANNERS, Bench, Deed, Fault, Moment, Tally  # noqa: E402
from tests.support.samples import SAMPLES  # noqa: E402
from tests.support.servers import (  # noqa: E402
    Postgres,
    Redis,
    proxying,
    running_postgres,
    running_redis,
)

LINE = "{:<30} {:>8} {:>7} {:>6} {:>6} {:>8}"


def main() -> int:
    """Disturb the commands and return the exit code."""
    wanted = _parse()
    print(LINE.format("command", "messages", "trials", "wrong", "twice", "seconds"))
    total = Tally()
    with _servers() as (server, redis, launcher, folder):
        bench = Bench(launcher)
        with _shipped(server, redis, launcher, folder) as make:
            for name in SAMPLES:
                if name not in NOT_TRIED and _is_wanted(name, wanted):
                    _disturb(name, make(name), bench, wanted.moments, total)
        with _of_test_project(server, redis, launcher) as found:
            for name, deed in found.items():
                if _is_wanted(f"deed {name}", wanted):
                    _disturb(f"deed {name}", deed, bench, wanted.moments, total)
    print(LINE.format("all", "", total.tried, len(total.wrong), total.twice, ""))
    return 1 if total.wrong else 0


def _disturb(name: str, deed: Deed, bench: Bench, most: int, total: Tally) -> None:
    """Disturb a command in each way and at its messages, and print a line.

    Args:
        name: Its name.
        deed: The command.
        bench: Disturbs it.
        most: Number of messages to disturb, spread evenly; 0 for all.
        total: Counts of all commands.
    """
    started, tally = time.monotonic(), Tally()
    messages = len(bench.messages_of(deed))
    numbers = list(range(messages))
    if 0 < most < messages:
        numbers = [round((n + 0.5) * messages / most) for n in range(most)]
    for manner in MANNERS:
        bench.bear(deed, manner, tally)
    for fault in Fault:
        for number in numbers:
            bench.suffer(deed, fault, Moment(number), tally)
    counts = tally.tried, len(tally.wrong), tally.twice
    print(LINE.format(name, messages, *counts, round(time.monotonic() - started)), flush=True)
    print(*tally.wrong, sep="\n", end="\n" if tally.wrong else "", flush=True)
    total.tried += tally.tried
    total.twice += tally.twice
    total.wrong += tally.wrong


def _is_wanted(name: str, wanted: argparse.Namespace) -> bool:
    return not wanted.commands or any(name.startswith(one) for one in wanted.commands)


@contextmanager
def _servers() -> Iterator[tuple[Postgres, Redis, Launcher, Path]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres() as server,
        running_redis() as redis,
        launching() as launcher,
    ):
        yield server, redis, launcher, Path(folder)


@contextmanager
def _shipped(
    server: Postgres, redis: Redis, launcher: Launcher, folder: Path
) -> Iterator[Callable[[str], Deed]]:
    with proxying(server.port) as database, proxying(redis.port) as cache:
        yield Shipped(server, redis, launcher, folder, (database, cache)).deed


@contextmanager
def _of_test_project(
    server: Postgres, redis: Redis, launcher: Launcher
) -> Iterator[dict[str, Deed]]:
    with ExitStack() as stack:
        url = server.url(stack.enter_context(server.database()))
        proxies = [stack.enter_context(proxying(one.port)) for one in (server, redis)]
        environ = {**os.environ, "DATABASE_URL": url, "ENVIRONMENT": "test"}
        ended = launcher.start(["migrate"], cwd=PROJECT, environ=environ).end()
        assert 0 == ended.code, ended.stderr
        yield deeds(url, redis.url, environ, proxies)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=4, help="messages of a command")
    parser.add_argument(
        "--all", action="store_const", const=0, dest="moments", help="all messages of a command"
    )
    parser.add_argument("commands", nargs="*", help="starts of names; without them all commands")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
