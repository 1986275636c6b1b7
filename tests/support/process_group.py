"""A process of a test in a session of its own, as a terminal gives one to what it starts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.servers.process import HOST


@contextmanager
def process_group(
    argv: Sequence[str], environ: Mapping[str, str], log: Path, *, cwd: Path, limit: float
) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and stop it when the block ends.

    Args:
        argv: Its command line.
        environ: All its variables.
        log: Gets what it prints.
        cwd: Its folder.
        limit: Seconds that it has to stop.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=limit)


def serves(port: int | str) -> bool:
    """Return whether a web process can serve requests."""
    try:
        return httpx.get(f"http://{HOST}:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
