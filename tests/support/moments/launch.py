"""Start processes of commands, one at a time, from a process that has imported their modules."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
PATIENCE = 60
"""Seconds after which a process counts as hanging."""

STDIN = "correct horse battery"
"""Standard input of each process: a password, for those that ask for one."""


class Streams(Enum):
    """What a process has as standard output."""

    PIPE = "a pipe"
    NO_READER = "a pipe that nobody reads"
    CLOSED = "closed"
    ASCII = "a pipe for ASCII"


class Ended(NamedTuple):
    """One process that has ended."""

    code: int
    stdout: str
    stderr: str


class Started:
    """One process that runs.

    Attributes:
        pid: Its number.
    """

    def __init__(self, channel: socket.socket, stdout: int | None, stderr: int) -> None:
        self._answers = channel.makefile("r")
        self.pid = int(self._answers.readline())
        self._texts = {"stdout": b"", "stderr": b""}
        self._readers = [
            threading.Thread(target=self._read, args=(name, end), daemon=True)
            for name, end in (("stdout", stdout), ("stderr", stderr))
            if end is not None
        ]
        for reader in self._readers:
            reader.start()

    def send_signal(self, signum: int) -> None:
        """Send a signal."""
        os.kill(self.pid, signum)

    def end(self) -> Ended:
        """Wait until it has ended; kill it after `PATIENCE`."""
        patience = threading.Timer(PATIENCE, self.send_signal, [signal.SIGKILL])
        patience.start()
        code = int(self._answers.readline())
        patience.cancel()
        for reader in self._readers:
            reader.join()
        stdout, stderr = (text.decode(errors="replace") for text in self._texts.values())
        return Ended(code, stdout, stderr)

    def _read(self, name: str, end: int) -> None:
        with open(end, "rb") as stream:
            self._texts[name] = stream.read()


class Launcher:
    """Starts processes of commands.

    Args:
        channel: The socket to the process that forks.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def start(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        streams: Streams = Streams.PIPE,
        fails_to_close: bool = False,
    ) -> Started:
        """Start `python manage.py WORDS`; end it before you start another one."""
        out, into_out = os.pipe()
        err, into_err = os.pipe()
        request = {
            "words": list(words),
            "cwd": str(cwd),
            "environ": dict(environ),
            "stdin": STDIN,
            "encoding": "ascii" if streams is Streams.ASCII else "utf-8",
            "closed": streams is Streams.CLOSED,
            "fails_to_close": fails_to_close,
        }
        socket.send_fds(self._channel, [json.dumps(request).encode()], [into_out, into_err])
        os.close(into_out)
        os.close(into_err)
        if streams is Streams.NO_READER:
            os.close(out)
            return Started(self._channel, None, err)
        return Started(self._channel, out, err)


@contextmanager
def launching() -> Iterator[Launcher]:
    """Run the process that forks until the end of the block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.moments.nursery", str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            yield Launcher(ours)
        finally:
            ours.shutdown(socket.SHUT_RDWR)  # a file of a process that has ended may keep it open
            process.wait()
