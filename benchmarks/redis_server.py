"""Start temporary Redis servers on free ports, without persistence."""

import binascii
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from errors import BenchmarkError

PATIENCE = 30  # seconds
SLOTS = 16_384


@dataclass(frozen=True)
class Server:
    """One running server."""

    port: int

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *words: object) -> str:
        """Send one command with redis-cli, and return its output."""
        done = subprocess.run(
            [_program("redis-cli"), "-p", str(self.port), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"redis-cli {words[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    @contextmanager
    def fed(self) -> Iterator[IO[str]]:
        """Open a stream for many commands, one per line."""
        with subprocess.Popen(
            [_program("redis-cli"), "-p", str(self.port), "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None
            yield process.stdin
        if process.returncode != 0:
            raise BenchmarkError("redis-cli --pipe failed")


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start one server with its log in `folder`, and stop it when the block ends."""
    with _started(folder, "--enable-debug-command", "yes") as server:
        yield server


@contextmanager
def running_cluster(folder: Path, nodes: int = 3) -> Iterator[Sequence[Server]]:
    """Start a cluster of primaries with equal shares of the slots; stop it when the block ends."""
    with ExitStack() as stack:
        servers = []
        for number in range(nodes):
            place = folder / f"node-{number}"
            place.mkdir()
            flags = ("--cluster-enabled", "yes", "--cluster-port", str(_free_port()))
            servers.append(stack.enter_context(_started(place, *flags)))
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        servers[0].ask("--cluster", "create", *addresses, "--cluster-yes")
        _wait(lambda: all("cluster_state:ok" in one.ask("CLUSTER", "INFO") for one in servers))
        yield servers


def slots_of(server: Server) -> range:
    """Return the slots that a node of a cluster holds."""
    (own,) = [line for line in server.ask("CLUSTER", "NODES").splitlines() if "myself" in line]
    first, _, last = own.split()[-1].partition("-")
    return range(int(first), int(last) + 1)


def slot_of(key: bytes) -> int:
    """Return the slot of a key without a hash tag."""
    return binascii.crc_hqx(key, 0) % SLOTS


@contextmanager
def _started(folder: Path, *flags: str) -> Iterator[Server]:
    program = _program("redis-server")
    server = Server(_free_port())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(server.port), "--bind", "127.0.0.1", "--save", "", *flags],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(lambda: _listens(server.port))
        yield server
    finally:
        process.terminate()
        process.wait()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchmarkError(f"{name} was not found (Debian: apt-get install redis-server)")
    return found


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"Redis was not ready within {PATIENCE} s")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
