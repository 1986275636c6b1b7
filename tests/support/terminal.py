"""A person at a terminal: run a process on a pseudo-terminal, and type into it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT = 30
"""Seconds after which a process counts as hanging."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\].*?\x07")
"""A control sequence, or the title of the window."""


class Person:
    """A person at a terminal in which `python manage.py WORDS` runs.

    Args:
        words: The words after `manage.py`.
        cwd: The project's folder.
        env: All variables of the process.
    """

    def __init__(self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._received = ""
        self.process = subprocess.Popen(
            # Ctrl-C sends SIGINT only to the session whose controlling terminal this is.
            ["setsid", "--ctty", sys.executable, "manage.py", *words],
            cwd=cwd,
            env={**env, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    @property
    def received(self) -> str:
        """Everything that the process has written, with control sequences."""
        return self._received

    @property
    def screen(self) -> str:
        """The text that the process has written, without colours and movements of the cursor."""
        return _ESCAPES.sub("", self._received).replace("\r\n", "\n")

    def sees(self, text: str) -> None:
        """Wait until the text is on the screen."""
        deadline = time.monotonic() + LIMIT
        while text not in self.screen:
            assert self._read(deadline), f"{text!r} never appeared:\n{self.screen}"

    def types(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def leaves(self) -> int:
        """Wait for the process to end, and return its exit code."""
        deadline = time.monotonic() + LIMIT
        while self._read(deadline):
            pass
        os.close(self._master)
        return self.process.wait(LIMIT)

    def _read(self, deadline: float) -> bool:
        """Read new text from the screen; return False if the process has closed it."""
        ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            self.process.kill()
            message = f"the process hangs:\n{self.screen}"
            raise AssertionError(message)
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # on Linux, when the last process has closed the other end
            return False
        self._received += data.decode(errors="replace")
        return bool(data)
