"""Run a server as a process that ends with the test run."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

HOST = "127.0.0.1"
PATIENCE = 60  # seconds until a server must answer; a busy CI machine is slow
KEEPER = Path(__file__).with_name("keeper.py")


class ServerError(RuntimeError):
    """A server failed to start or to do an order; the message contains its output."""


class ServerProcess:
    """A server and its keeper.

    Args:
        command: Program and arguments.
        folder: The folder of all its files, created by `server_folder`.
        stop_signal: The signal that ends the server at once.
        answers: Returns whether the server answers.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        stop_signal: signal.Signals,
        answers: Callable[[], bool],
    ) -> None:
        self._answers = answers
        self._keeper = subprocess.Popen(
            [
                *(sys.executable, "-I", KEEPER, folder, _account(), str(int(stop_signal))),
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environ(),
            start_new_session=True,  # Ctrl-C must not end the server: the test run needs it
        )

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerError: The server ended, or did not answer in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._keeper.poll() is not None:
                raise ServerError(f"the server ended:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerError(f"the server did not answer within {PATIENCE} s")
            time.sleep(0.02)

    def restart(self, signum: signal.Signals) -> None:
        """Stop the server with a signal, start it again, and wait until it answers."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{int(signum)}\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline()
        if answer != "restarted\n":
            raise ServerError(f"the server did not restart:\n{answer}{self._last_words()}")
        self.wait_until_ready()

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._keeper.communicate()

    def _last_words(self) -> str:
        return self._keeper.communicate()[0]


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """Create a temporary folder that the server's account owns; remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"oneoff-{name}-"))
    try:
        hand_over(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(server: ServerProcess) -> Iterator[None]:
    """Wait until the server answers, run the block, and stop the server."""
    try:
        server.wait_until_ready()
        yield
    finally:
        server.stop()


def hand_over(path: Path) -> None:
    """Change the owner of a file or folder to the account that servers run as."""
    account = unprivileged_account()
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def unprivileged_account() -> pwd.struct_passwd | None:
    """Return the account for servers if this process is root, which the servers refuse."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def clean_environ(**extra: str) -> Mapping[str, str]:
    """Return the environment without the variables of PostgreSQL's programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", **extra}


def free_port() -> int:
    """Return a port on which no process listens.

    It is below the range of ports for outgoing connections, so that none of these gets it before
    the server does.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def url(scheme: str, user: str, password: str, port: int, path: str) -> str:
    """Return a URL as platforms provide it: user and password are percent-encoded."""
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"{scheme}://{who}@{HOST}:{port}/{path}"


def _account() -> str:
    account = unprivileged_account()
    return f"{account.pw_uid}:{account.pw_gid}" if account else ""
