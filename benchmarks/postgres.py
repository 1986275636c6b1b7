"""Start a temporary PostgreSQL server on a free port.

It has the default settings, including fsync. Only our side writes a row in each run, and a server
without fsync would hide that cost.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError

USER = "bench"


@dataclass(frozen=True)
class Server:
    """A running server that trusts connections from this machine."""

    bin: Path
    port: int

    def url(self, database: str) -> str:
        """Return the URL of a database, in the form that platforms provide."""
        return f"postgres://{USER}@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        """Return the server's version."""
        return self.query("postgres", "SHOW server_version")

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self.query("postgres", f'CREATE DATABASE "{name}"')

    def query(self, database: str, sql: str) -> str:
        """Run one statement in psql and return what it prints."""
        target = self.url(database).replace("postgres://", "postgresql://")
        return _run([str(self.bin / "psql"), "-XAtq", "-d", target, "-c", sql])


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server with its files in `folder`, and stop it when the block ends.

    PostgreSQL refuses to run as root. As root, start it as the user `postgres` or `nobody`.
    """
    server = Server(_find_binaries(), _free_port())
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    account = _unprivileged_account()
    if account:
        os.chown(data, account.pw_uid, account.pw_gid)
    ctl = [str(server.bin / "pg_ctl"), "-s", "-w", "-D", str(data)]
    initdb = [str(server.bin / "initdb"), "-D", str(data), "-U", USER, "-A", "trust"]
    _run([*initdb, "-E", "UTF8", "--locale=C"], account)
    options = f"-p {server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
    _run([*ctl, "-l", str(data / "log"), "-o", options, "start"], account)
    try:
        yield server
    finally:
        _run([*ctl, "-m", "immediate", "stop"], account)


def _find_binaries() -> Path:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_major_version)
    if debian:
        return debian[-1].parent
    raise BenchmarkError(
        "PostgreSQL's initdb was not found on PATH or under /usr/lib/postgresql; "
        "install the server (Debian: apt-get install postgresql; macOS: brew install postgresql)"
    )


def _major_version(initdb: Path) -> float:
    return float(initdb.parent.parent.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def _run(command: list[str], account: pwd.struct_passwd | None = None) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout.strip()
