"""Run the web process with its line in the Procfile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.servers.process import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def procfile() -> dict[str, str]:
    """Return the command of each process type."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


class Web:
    """A web process for one test.

    Args:
        environ: All its variables except PORT.
        log: File for its output.

    Attributes:
        client: Sends requests; the test fails if there is no answer within 20 s.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        self._log, port = log, free_port()
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {procfile()['web']}"],
                cwd=ROOT,
                env={**environ, "PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the events logged so far, all or those of one name; each line must be JSON."""
        found = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in found if event in ("", line["event"])]

    def requests(self, path: str, count: int) -> list[dict[str, Any]]:
        """Wait for this number of request events, which are logged shortly after the answers."""
        deadline = time.monotonic() + 10
        while True:
            found = [line for line in self.lines("request.finished") if line["path"] == path]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def wait_until_up(self) -> None:
        """Wait until the process answers."""
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            try:
                self.client.get("/health/live")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process as a platform does, and return its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(timeout=25)


@contextmanager
def running_web(environ: Mapping[str, str], folder: Path) -> Iterator[Web]:
    """Start a web process, wait for its first answer, and stop it at the end of the block."""
    path = f"{BIN}{os.pathsep}{environ['PATH']}"
    web = Web({**environ, "PATH": path}, folder / "web.log")
    try:
        web.wait_until_up()
        yield web
    finally:
        web.client.close()
        if web.process.poll() is None:
            web.process.kill()
            web.process.wait()
