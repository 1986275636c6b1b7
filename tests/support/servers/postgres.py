"""A PostgreSQL server for a test run."""

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
from tests.support.servers.psql import PASSWORD, USER, OpenPsql, answers, query

RESTARTS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # A crash of the machine may lose these databases. A crash of the server does not, because
    # synchronous_commit is on.
    "fsync": "off",
    "full_page_writes": "off",
}


class Postgres:
    """A running server; `user` is its superuser.

    Args:
        folder: A folder for all files of the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user, self.password = USER, PASSWORD
        self.port = free_port()
        # Debian's psql on PATH is a wrapper, so use the folder of the server's own programs.
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
        self.admin = OpenPsql(self.bin / "psql", self.port)

    def url(self, database: str) -> str:
        """Return the URL of a database, as platforms provide it."""
        return url("postgres", self.user, self.password, self.port, database)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run statements, each in its own transaction, and return the rows, as lines `a|b`.

        Raises:
            ServerError: A statement failed.
        """
        return query(self.bin / "psql", self.port, sql, database)

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server as pg_ctl does in this mode, and start it again.

        "immediate" is a crash: connections break, and recovery runs.
        """
        self.admin.close()  # "smart" waits until all clients are disconnected
        self.process.restart(RESTARTS[mode])

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Copy a template and yield the name of the copy; drop the copy at the end.

        No client may be connected to the template during the copy. Clients of the copy are
        disconnected at the end.
        """
        name = f"test_{next(self._numbers)}"
        self.admin.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            self.admin.run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def replace(self, name: str, template: str) -> None:
        """Replace a database by a copy of a template; no client may be connected to either."""
        self.admin.run(f'DROP DATABASE "{name}"')
        self.admin.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

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
            try:
                yield server
            finally:
                server.admin.close()
