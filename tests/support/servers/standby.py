"""A standby server for a test run, which follows its PostgreSQL server."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.postgres import SETTINGS, Postgres
from tests.support.servers.process import (
    HOST,
    ServerError,
    ServerProcess,
    clean_environ,
    free_port,
    running,
    server_folder,
    unprivileged_account,
)
from tests.support.servers.psql import PASSWORD, USER, answers, query


class Standby:
    """A running hot standby, which receives and replays the changes of the primary.

    Args:
        primary: The server that it follows.
        folder: A folder for all files of the standby.
    """

    def __init__(self, primary: Postgres, folder: Path) -> None:
        self.port = free_port()
        self._psql = primary.bin / "psql"
        self._copy(primary, folder)
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        # Tests read its lag from the primary, to which it reports every ten seconds by default.
        settings.append("--wal_receiver_status_interval=1s")
        self.process = ServerProcess(
            [primary.bin / "postgres", "-D", folder / "data", "-p", str(self.port), *settings],
            folder,
            signal.SIGQUIT,
            lambda: answers(self._psql, self.port),
        )

    def pause(self) -> None:
        """Stop replaying changes; still receive them."""
        query(self._psql, self.port, "SELECT pg_wal_replay_pause()", "postgres")

    def resume(self) -> None:
        """Replay the received changes, and continue."""
        query(self._psql, self.port, "SELECT pg_wal_replay_resume()", "postgres")

    def _copy(self, primary: Postgres, folder: Path) -> None:
        account = unprivileged_account()
        target = {"PGHOST": HOST, "PGPORT": str(primary.port), "PGUSER": USER}
        done = subprocess.run(
            [primary.bin / "pg_basebackup", "-D", folder / "data", "-R", "-c", "fast", "--no-sync"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=folder,
            env=clean_environ(PGPASSWORD=PASSWORD, **target),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode:
            raise ServerError(f"pg_basebackup failed:\n{done.stdout}")


@contextmanager
def running_standby(primary: Postgres) -> Iterator[Standby]:
    """Start a standby, and stop it at the end of the block."""
    with server_folder("standby") as folder:
        standby = Standby(primary, folder)
        with running(standby.process):
            yield standby
