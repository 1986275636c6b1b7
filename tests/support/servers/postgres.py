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
from tests.support.servers.psql import PASSWORD, USER, OpenPsql, answers, query

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
        self.admin = OpenPsql(self.bin / "psql", self.port)

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
        self.admin.close()  # "smart" waits until nobody is connected
        self.process.restart(RESTARTS[mode])

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a copy of a template and give its name; drop it at the end, whoever is connected.

        Nobody may be connected to the template meanwhile.
        """
        name = f"test_{next(self._numbers)}"
        self.admin.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            self.admin.run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def replace(self, name: str, template: str) -> None:
        """Make a database a copy of a template; nobody may be connected to either."""
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
