"""Compare `cache clear` with redis-cli, as entire processes: `make bench-cache`.

1,000,000 of 1,100,000 keys match. Exit with 0 if all goals are met, 1 if one is missed, and 2 if
something could not be measured. Start the script with the project's interpreter.
"""

import argparse
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError, run_script
from redis_server import Server, running, running_cluster, slot_of, slots_of

REPOSITORY = Path(__file__).resolve().parent.parent
MATCHING, OTHERS = 1_000_000, 100_000
ENOUGH_RUNS = 9
COLUMNS = "{:<10} {:<34} {:>8} {:>11} {:>11} {:>8}"

RATIO, WORST_PING, MEMORY = 0.40, 6.0, 80.0
"""The goals: multiple of the time of redis-cli, milliseconds, MiB."""

SCAN_AND_UNLINK = (
    "redis-cli -p {port} --scan --pattern 'user:*' | "
    "xargs -n 1000 redis-cli -p {port} unlink >/dev/null"
)
# In a cluster one UNLINK can't delete keys of two slots, so redis-cli gets one key per command.
SCAN_AND_PIPE = (
    "(redis-cli -p {port} --scan --pattern 'user:*' | sed 's/^/UNLINK /' | "
    "redis-cli -p {port} --pipe >/dev/null)"
)


@dataclass(frozen=True)
class Side:
    """A command line that removes the keys."""

    name: str
    argv: Sequence[str]


@dataclass(frozen=True)
class Run:
    """One removal: its seconds, the longest wait of another client in ms, and memory in MiB."""

    seconds: float
    ping: float
    memory: float


def main() -> int:
    """Measure one server and a cluster, print the results, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that the servers stop
    options = _parse()
    if options.runs < ENOUGH_RUNS:
        print(f"fewer than {ENOUGH_RUNS} runs: the results are not reliable")
    print(COLUMNS.format("redis", "side", "time, s", "ping*, ms", "ping**, ms", "MiB"))
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="oneoff-bench-") as name:
        folder = Path(name)
        environ = _environ(folder)
        if "one" in options.only:
            with running(folder) as server:
                missed += _compare("one", [server], options, environ)
        if "cluster" in options.only:
            with running_cluster(folder) as servers:
                missed += _compare("cluster", servers, options, environ)
    print("\n* longest wait of another client: the median of the runs  ** of all runs")
    print(f"goals MISSED: {', '.join(missed) or 'none'}")
    return int(bool(missed))


def _compare(
    kind: str, servers: Sequence[Server], options: argparse.Namespace, environ: dict[str, str]
) -> list[str]:
    fill = _fill_one if kind == "one" else _fill_cluster
    sides = [_peer(servers), _ours()]
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for number in range(options.runs + 1):  # the first round warms up
        for side in sides:
            fill(servers, options.keys)
            run = _measure(side, servers, {**environ, "REDIS_URL": servers[0].url})
            _check(side, servers, options.keys)
            if number:
                runs[side.name].append(run)
    peer, ours = (_shown(kind, side, runs[side.name]) for side in sides)
    ratio = ours.seconds / peer.seconds
    goals = {
        f"{kind}: {ours.ping:.1f} ms <= {WORST_PING:.0f} ms": ours.ping <= WORST_PING,
        f"{kind}: {ours.memory:.0f} MiB <= {MEMORY:.0f} MiB": ours.memory <= MEMORY,
    }
    if kind == "one":
        goals[f"{kind}: {ratio:.2f} x <= {RATIO:.2f} x"] = ratio <= RATIO
    print(f"  ratio {ratio:.2f}")
    for goal, met in goals.items():
        print(f"  {goal}: {'met' if met else 'MISSED'}")
    return [goal for goal, met in goals.items() if not met]


def _peer(servers: Sequence[Server]) -> Side:
    if len(servers) == 1:
        script = SCAN_AND_UNLINK.format(port=servers[0].port)
        return Side("redis-cli --scan | xargs unlink", ("sh", "-c", script))
    each = [SCAN_AND_PIPE.format(port=server.port) for server in servers]
    return Side("redis-cli --scan | --pipe, parallel", ("sh", "-c", " & ".join(each) + " & wait"))


def _ours() -> Side:
    line = "cache clear --pattern 'user:*' --confirm --quiet"
    return Side("manage.py cache clear", (sys.executable, "manage.py", *shlex.split(line)))


def _measure(side: Side, servers: Sequence[Server], environ: dict[str, str]) -> Run:
    ports = [str(server.port) for server in servers]
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ping.py")), *ports],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as pinging:
        assert pinging.stdout is not None
        pinging.stdout.readline()
        start = time.perf_counter()
        process = subprocess.Popen(
            side.argv, cwd=REPOSITORY, env=environ, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said, _ = pinging.communicate()
    if process.returncode != 0:
        raise BenchmarkError(f"{side.name} ended with {process.returncode}")
    return Run(seconds, float(said), usage.ru_maxrss / 1024)


def _check(side: Side, servers: Sequence[Server], keys: int) -> None:
    left = sum(int(server.ask("DBSIZE")) for server in servers)
    if left != keys * OTHERS // MATCHING:
        raise BenchmarkError(f"{side.name} left {left} keys")


def _shown(kind: str, side: Side, runs: Sequence[Run]) -> Run:
    middle = Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.ping for run in runs),
        max(run.memory for run in runs),
    )
    worst = max(run.ping for run in runs)
    figures = (middle.seconds, middle.ping, worst)
    texts = (f"{figure:.2f}" for figure in figures)
    # For a pipeline of programs, this would be the memory of the shell.
    memory = "" if side.argv[0] == "sh" else f"{middle.memory:.0f}"
    print(COLUMNS.format(kind, side.name, *texts, memory).rstrip(), flush=True)
    return middle


def _fill_one(servers: Sequence[Server], keys: int) -> None:
    (server,) = servers
    server.ask("FLUSHALL")
    server.ask("DEBUG", "POPULATE", keys, "user")
    server.ask("DEBUG", "POPULATE", keys * OTHERS // MATCHING, "other")


def _fill_cluster(servers: Sequence[Server], keys: int) -> None:
    """Write each key to the node that holds its slot."""
    # Keys are streamed: the measured memory of a child includes that of this process at the fork.
    homes = {slot: at for at, server in enumerate(servers) for slot in slots_of(server)}
    with ExitStack() as stack:
        for server in servers:
            server.ask("FLUSHALL")
        streams = [stack.enter_context(server.fed()) for server in servers]
        for prefix, count in (("user", keys), ("other", keys * OTHERS // MATCHING)):
            for number in range(count):
                key = f"{prefix}:{number}"
                streams[homes[slot_of(key.encode())]].write(f"SET {key} value:{number}\r\n")


def _environ(folder: Path) -> dict[str, str]:
    """Migrate a new SQLite database and return the environment variables that use it."""
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DATABASE_URL": f"sqlite:///{folder}/shop.sqlite3",
        "ENVIRONMENT": "development",
        "LOG_LEVEL": "error",
    }
    migrate = [sys.executable, "manage.py", "migrate"]
    done = subprocess.run(
        migrate, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"migrate failed:\n{done.stdout}{done.stderr}")
    return environ


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=ENOUGH_RUNS, help="timed runs of each side")
    parser.add_argument("--keys", type=int, default=MATCHING, help="number of matching keys")
    parser.add_argument(
        "--only", action="append", choices=("one", "cluster"), help="measure this; may be repeated"
    )
    options = parser.parse_args()
    options.only = options.only or ["one", "cluster"]
    return options


if __name__ == "__main__":
    run_script(main)
