"""The Procfile as a platform runs it, with honcho: release, then web and worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT
from tests.support.database import query
from tests.support.process_group import process_group, serves
from tests.support.servers.process import free_port

LIMIT = 20.0
"""Seconds in which all processes have to end after Ctrl-C."""
HONCHO = [sys.executable, "-m", "honcho", "-e", "/dev/null", "-f", str(ROOT / "Procfile"), "start"]


@pytest.fixture
def settings(environ: dict[str, str], postgres_url: str, redis_url: str) -> dict[str, str]:
    """Return the variables that a platform sets, on an empty database."""
    folders = [str(Path(sys.executable).parent), environ["PATH"]]
    return {
        **environ,
        "PATH": os.pathsep.join(folders),
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ENVIRONMENT": "test",
        "PORT": str(free_port()),
    }


def release(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the line `release` until its end. A platform goes on only if it exits with 0."""
    return subprocess.run(
        [*HONCHO, "release"], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )


def test_release_migrates_then_web_and_worker_run_until_ctrl_c(
    settings: dict[str, str], tmp_path: Path
) -> None:
    """Both stop cleanly after one Ctrl-C."""
    log = tmp_path / "log"
    released = release(settings)
    assert 0 == released.returncode, released.stdout
    web_and_worker = [*HONCHO, "web", "worker"]
    with process_group(web_and_worker, settings, log, cwd=ROOT, limit=2 * LIMIT) as process:
        deadline = time.monotonic() + 60
        while not (serves(settings["PORT"]) and "Starting worker" in log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=LIMIT)

    stopped = [line for line in log.read_text().splitlines() if "stopped (rc=" in line]
    assert 2 == len(stopped)
    assert "Traceback" not in log.read_text()


def test_a_migration_that_fails_stops_the_deployment(settings: dict[str, str]) -> None:
    """The exit code of the command is that of `release`, and the last line says it too."""
    query(settings["DATABASE_URL"], "CREATE TABLE users (name TEXT)")

    released = release(settings)

    assert 1 == released.returncode
    assert '"exit_code": 1' in released.stdout
    assert not serves(settings["PORT"])
