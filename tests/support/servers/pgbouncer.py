"""A pgbouncer in transaction mode for a test run, in front of the run's PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.postgres import Postgres
from tests.support.servers.process import (
    HOST,
    ServerProcess,
    free_port,
    hand_over,
    running,
    server_folder,
    url,
)
from tests.support.servers.programs import find_program
from tests.support.servers.psql import answers

CONFIGURATION = """\
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = transaction
max_client_conn = 500
"""


class PgBouncer:
    """A running pooler for all databases of the server, with the same account.

    Args:
        postgres: The server behind the pooler.
        folder: A folder for all files of the pooler.
    """

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._postgres = postgres
        self.port = free_port()
        configuration = CONFIGURATION.format(host=HOST, port=self.port, server_port=postgres.port)
        _write(folder / "pgbouncer.ini", configuration)
        _write(folder / "users.txt", f'"{postgres.user}" "{postgres.password}"\n')
        self.process = ServerProcess(
            [find_program("pgbouncer"), "pgbouncer.ini"],
            folder,
            signal.SIGTERM,
            lambda: answers(postgres.bin / "psql", self.port),
        )

    def url(self, database: str) -> str:
        """Return the URL of a database through the pooler."""
        return url("postgres", self._postgres.user, self._postgres.password, self.port, database)


@contextmanager
def running_pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    """Start a pooler, and stop it at the end of the block."""
    with server_folder("pgbouncer") as folder:
        pooler = PgBouncer(postgres, folder)
        with running(pooler.process):
            yield pooler


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    hand_over(path)
