"""A Redis server for a test run."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
from tests.support.servers.psql import PASSWORD

CONFIGURATION = """\
bind {host}
port {port}
requirepass "{password}"
save ""
appendonly no
"""


class Redis:
    """A running server that keeps everything in memory.

    Args:
        folder: A folder for all files of the server.
        settings: Additional lines of its configuration.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.password = PASSWORD
        self.settings = settings
        self.port = free_port()
        configuration = folder / "redis.conf"
        configuration.write_text(
            CONFIGURATION.format(host=HOST, port=self.port, password=self.password)
            + "".join(f"{name} {value}\n" for name, value in settings.items())
        )
        hand_over(configuration)
        self.process = ServerProcess(
            [find_program("redis-server"), configuration], folder, signal.SIGTERM, self._answers
        )

    @property
    def url(self) -> str:
        """The URL of database 0, as platforms provide it."""
        return url("redis", "", self.password, self.port, "0")

    def flush(self) -> None:
        """Delete all keys."""
        self.ask("FLUSHALL")

    def ask(self, *words: Any) -> Any:
        """Send one command on a new connection, and return the answer."""
        import redis

        with redis.Redis(port=self.port, password=self.password, protocol=2) as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return bool(connection.recv(64))
        except OSError:
            return False


@contextmanager
def running_redis() -> Iterator[Redis]:
    """Start a server, and stop it at the end of the block."""
    with server_folder("redis") as folder:
        server = Redis(folder)
        with running(server.process):
            yield server
