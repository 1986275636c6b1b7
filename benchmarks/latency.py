"""Count how often a command waits for a database far away: `make bench-latency`.

Exit with 0 if all goals are met, 1 if one is missed, and 2 if a row could not be measured.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import workbench
from environments import REPOSITORY, Environment
from errors import NOT_MEASURED, BenchmarkError, run_script
from latency_rows import FRAMEWORK_REVISIONS, REVISIONS, ROWS, Databases, Goal, Row
from measure import Case, check, interleaved, median
from workbench import DJANGO, OURS

sys.path.insert(0, str(REPOSITORY))

from tests.support.bursts import FarProxy, far
from tests.support.servers import Postgres, running_pgbouncer, running_postgres

DISTANCES = (0, 5, 25, 100)
RATIO_AT = 25
COLUMNS = "{:<32} {:<16} {:>7} {:>6} {:>5}  {:<28} {}"
BARE_HANDSHAKE = 2  # the request for TLS, and the start: without TLS and without a password
CONNECT = "import asyncio, asyncpg, os; asyncio.run(asyncpg.connect(os.environ['DATABASE_URL']))"


@dataclass
class Figures:
    """The medians of the runs of one side.

    Attributes:
        bursts: How often it sent something and the server answered. The start of a connection
            counts 2, whatever TLS and the password cost.
        starts: What the starts of the connections really cost, in bursts.
        waits: How many of all bursts waited one after the other.
        times: Milliseconds of the process by distance.
    """

    bursts: int
    starts: int
    waits: int
    times: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Meter:
    """Measures rows through a proxy.

    Attributes:
        handshake: How many bursts a connection needs until its first statement.
        distances: Round trips in milliseconds.
        runs: The timed runs of each side and distance.
    """

    databases: Databases
    proxy: FarProxy
    handshake: int
    distances: Sequence[int]
    runs: int

    def measure(self, row: Row) -> dict[str, Figures]:
        """Return the figures by side."""
        cases = self.databases.cases(row)
        self.proxy.round_trip = 0.005  # with less, it is not certain what waited for what
        found = {case.side: self._count(case) for case in cases}
        for distance in self.distances:
            self.proxy.round_trip = distance / 1000
            for side, samples in interleaved(cases, self.runs).items():
                found[side].times[distance] = median(samples)
        return found

    def _count(self, case: Case) -> Figures:
        with self.proxy.record() as trace:
            check(case)
        starts = self.handshake * len(trace.connections)
        bursts = len(trace.bursts) - starts + BARE_HANDSHAKE * len(trace.connections)
        return Figures(bursts, starts, trace.waits)


def main() -> int:
    """Measure the selected rows, print them, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that the servers stop
    options = _parse()
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the user of the server must be able to enter the folder
        with (
            workbench.opened(folder, with_ours=True, with_database=False) as bench,
            running_postgres() as server,
            _entrance(server, options) as port,
            far(port) as proxy,
        ):
            env = {"PGPASSWORD": server.password}
            databases = Databases(bench, server, proxy.port, env)
            handshake = _handshake(bench.environment(OURS), server, proxy, env)
            print(f"a connection starts with {handshake} bursts, of which {BARE_HANDSHAKE} count;")
            print("entire processes, the sides in turn; medians of", options.runs, "\n")
            meter = Meter(databases, proxy, handshake, options.round_trip, options.runs)
            return _compare(meter, rows)


@contextmanager
def _entrance(server: Postgres, options: argparse.Namespace) -> Iterator[int]:
    """Yield the port that the proxy passes to, after configuring how the server authenticates."""
    if options.scram_tls:
        _use_tls(server)
    else:
        hba = Path(server.psql("SHOW hba_file"))
        hba.write_text("host all all 127.0.0.1/32 trust\n")
    server.psql("SELECT pg_reload_conf()")
    if options.through != "pgbouncer":
        yield server.port
        return
    with running_pgbouncer(server) as pooler:
        yield pooler.port


def _use_tls(server: Postgres) -> None:
    data = Path(server.psql("SHOW data_directory"))
    key, certificate = data / "server.key", data / "server.crt"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key}"
    subprocess.run([*command.split(), "-out", certificate], check=True, capture_output=True)
    for file in (key, certificate):
        file.chmod(0o600)
        owner = data.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
    server.psql("ALTER SYSTEM SET ssl = on")


def _handshake(
    environment: Environment, server: Postgres, proxy: FarProxy, env: Mapping[str, str]
) -> int:
    """Return how many bursts a connection needs until its first statement."""
    url = f"postgres://{server.user}@127.0.0.1:{proxy.port}/postgres"
    proxy.round_trip = 0.005  # the server's messages after the start of TLS must come later
    with proxy.record() as trace:
        command = [str(environment.python), "-c", CONNECT]
        subprocess.run(command, env={**env, "DATABASE_URL": url}, check=True)
    return len(trace.bursts)


def _compare(meter: Meter, rows: Sequence[Row]) -> int:
    times = " ".join(f"{distance:>6}" for distance in meter.distances)
    print(COLUMNS.format("command", "side", "bursts", "starts", "waits", times + " ms", "goal"))
    found: dict[str, dict[str, Figures]] = {}
    missed, failed = [], []
    for row in rows:
        try:
            figures = found[row.name] = meter.measure(row)
        except BenchmarkError as error:
            failed.append(row.name)
            print(f"{row.name} was not measured: {error}", file=sys.stderr, flush=True)
            continue
        verdicts = [_verdict(goal, figures) for goal in row.goals]
        _print(row.title, figures, verdicts)
        missed += [row.name for verdict in verdicts if verdict.endswith("MISSED")]
    for title, bursts, limit in _of_revisions(found):
        verdict = "" if limit is None else _at_most(bursts, limit)
        print(COLUMNS.format(title, OURS.name, f"{bursts:.1f}", "", "", "", verdict))
        missed += [title] if verdict.endswith("MISSED") else []
    print(f"\ngoals MISSED: {', '.join(dict.fromkeys(missed)) or 'none'}")
    if failed:
        print("NOT MEASURED:", ", ".join(failed))
        return NOT_MEASURED
    return int(bool(missed))


def _verdict(goal: Goal, found: Mapping[str, Figures]) -> str:
    ours = found[OURS.name]
    if goal.bursts is not None:
        return _at_most(ours.bursts, goal.bursts)
    if goal.fewer_than is not None:
        met = ours.bursts < found[goal.fewer_than].bursts
        return f"fewer than {goal.fewer_than}: {'met' if met else 'MISSED'}"
    if RATIO_AT not in ours.times:
        return f"{goal.ratio} x django at {RATIO_AT} ms: not measured"
    ratio = ours.times[RATIO_AT] / found[DJANGO.name].times[RATIO_AT]
    met = goal.ratio is not None and ratio <= goal.ratio
    return f"{ratio:.2f} <= {goal.ratio} x django at {RATIO_AT} ms: {'met' if met else 'MISSED'}"


def _at_most(bursts: float, limit: float) -> str:
    return f"<= {limit}: {'met' if bursts <= limit else 'MISSED'}"


def _print(title: str, found: Mapping[str, Figures], verdicts: Sequence[str]) -> None:
    for side, one in found.items():
        times = " ".join(f"{time:>6.0f}" for time in one.times.values())
        goals = ", ".join(verdicts) if side == OURS.name else ""
        row = (title, side, one.bursts, one.starts, one.waits, times, goals)
        print(COLUMNS.format(*row).rstrip(), flush=True)
        title = ""


def _of_revisions(
    found: Mapping[str, Mapping[str, Figures]],
) -> Iterator[tuple[str, float, int | None]]:
    """Return the bursts of a revision and of the framework's own tables, with their goals."""
    if not found.keys() >= {"migrate", "migrate-first", "migrate-rest"}:
        return
    nothing, first, rest = (
        found[name][OURS.name].bursts for name in ("migrate", "migrate-first", "migrate-rest")
    )
    one = (rest - nothing) / (REVISIONS - 1)
    yield "a revision, the average of all", first / (REVISIONS + FRAMEWORK_REVISIONS), 14
    yield "a revision of the project", one, None
    yield "the framework's own tables", first - nothing - REVISIONS * one, 20


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    names = [row.name for row in ROWS]
    parser.add_argument("--only", action="append", choices=names, help="a row; may be repeated")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each side (default 9)")
    parser.add_argument(
        "--round-trip",
        action="append",
        type=int,
        metavar="MS",
        help=f"a distance; may be repeated (default {', '.join(map(str, DISTANCES))})",
    )
    parser.add_argument("--through", choices=["pgbouncer"], help="connect through a pooler")
    parser.add_argument(
        "--scram-tls", action="store_true", help="encrypt the connections, and ask for a password"
    )
    options = parser.parse_args()
    options.round_trip = options.round_trip or list(DISTANCES)
    return options


if __name__ == "__main__":
    run_script(main)
