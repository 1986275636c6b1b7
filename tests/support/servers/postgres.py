"""A PostgreSQL server of the test run's own."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.process import (
    HOST,
    ServerError,
    ServerProcess,
    clean_environ,
    free_port,
    hand_over,
    running,
    server_folder,
    unprivileged_account,
    url,
)
from tests.support.servers.programs import find_program

USER = "oneoff"
# '@' and '%' break whoever forgets to decode a URL, or passes one through an ini file.
PASSWORD = "p@ss%word"  # noqa: S105 - of a server that only this run can reach
RESTARTS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # A crash of the machine may lose these databases; a crash of the server doesn't, because
    # synchronous_commit stays on.
    "fsync": "off",
    "full_page_writes": "off",
}


class Postgres:
    """A running server; `user` is its superuser.

    Args:
        folder: Folder of its own that holds all its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user, self.password = USER, PASSWORD
        self.port = free_port()
        # Debian's psql on PATH is a wrapper, so links are followed to the server's own folder.
        self.bin = find_program("initdb").resolve().parent
        self._numbers = itertools.count(1)
        self._data = folder / "data"
        self._initialise(folder / "password")
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        self.process = ServerProcess(
            [self.bin / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            folder,
            signal.SIGQUIT,
            self._answers,
        )

    def url(self, database: str) -> str:
        """Return the URL of a database, as platforms hand it out."""
        return url("postgres", self.user, self.password, self.port, database)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run statements, each in its own transaction, and return the rows: `a|b` a line.

        Raises:
            ServerError: A statement failed.
        """
        return query(self.bin / "psql", self.port, sql, database)

    def restart(self, mode: str = "immediate") -> None:
        """Stop as pg_ctl's mode of that name does, and start again.

        "immediate" is a crash: connections break, and recovery runs.
        """
        self.process.restart(RESTARTS[mode])

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a copy of a template and give its name; drop it at the end, whoever is connected.

        Nobody may be connected to the template meanwhile.
        """
        name = f"test_{next(self._numbers)}"
        self.psql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            self.psql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def replace(self, name: str, template: str) -> None:
        """Make a database a copy of a template; nobody may be connected to either."""
        self.psql(f'DROP DATABASE "{name}"')
        self.psql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def _initialise(self, password_file: Path) -> None:
        password_file.write_text(self.password)
        hand_over(password_file)
        account = unprivileged_account()
        options = f"-U {self.user} -E UTF8 --locale=C --auth=scram-sha-256 --no-sync".split()
        done = subprocess.run(
            [self.bin / "initdb", "-D", self._data, f"--pwfile={password_file}", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=password_file.parent,
            env=clean_environ(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode:
            raise ServerError(f"initdb failed:\n{done.stdout}")

    def _answers(self) -> bool:
        return answers(self.bin / "psql", self.port)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, and stop it at the end of the block."""
    with server_folder("postgres") as folder:
        server = Postgres(folder)
        with running(server.process):
            yield server


def query(psql: Path, port: int, sql: str, database: str) -> str:
    """Run statements through psql on one of our servers.

    Raises:
        ServerError: A statement failed, or there was no connection.
    """
    target = {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": USER, "PGDATABASE": database}
    done = subprocess.run(
        [psql, "-XAtq", "-v", "ON_ERROR_STOP=1"],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environ(PGPASSWORD=PASSWORD, **target),
    )
    if done.returncode:
        raise ServerError(done.stderr.strip())
    return done.stdout.strip("\n")


def answers(psql: Path, port: int) -> bool:
    """Say whether a statement can be run yet."""
    try:
        return query(psql, port, "SELECT 1", "postgres") == "1"
    except ServerError:
        return False
