"""`make up`: run web and worker on one machine, and stop everything after Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Run
from tests.support.process_group import process_group, serves
from tests.support.servers.process import HOST, free_port
from tests.support.servers.programs import find_program

LIMIT = 20.0
"""Seconds in which all processes have to end."""


def poll(good: Callable[[], bool], process: subprocess.Popen[str], log: Path) -> None:
    """Wait until a condition is true; a process that ends before is an error."""
    deadline = time.monotonic() + 40
    while not good():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def is_open(port: int) -> bool:
    """Return whether a process listens on the port."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture
def ports(environ: dict[str, str], tmp_path: Path, sqlite_url: str) -> tuple[int, int]:
    """Choose free ports for web and Redis, and let all processes of the test use them."""
    web, redis = free_port(), free_port()
    folders = [Path(sys.executable).parent, find_program("redis-server").parent]
    environ |= {
        "PATH": os.pathsep.join([*map(str, folders), environ["PATH"]]),
        "PORT": str(web),
        "UP_REDIS_PORT": str(redis),
        "UP_FOLDER": str(tmp_path / "up"),
        "DATABASE_URL": sqlite_url,
        "ENVIRONMENT": "development",
    }
    return web, redis


def running_up(environ: dict[str, str], log: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run `make up`, and stop it when the block ends."""
    # -o: the virtual environment of the tests is used as it is.
    argv = ["make", "-o", "setup", "up", f"BIN={Path(sys.executable).parent}"]
    return process_group(argv, environ, log, cwd=ROOT, limit=LIMIT)


def is_healthy(run: Run, redis: int) -> bool:
    """Return whether `system health` reports that all services are up, including the worker."""
    done = run(["system", "health", "--json"], env={"REDIS_URL": f"redis://{HOST}:{redis}/0"})
    health = {row["service"]: row["health"] for row in json.loads(done.stdout)["data"]}
    assert ["database", "migrations", "redis", "worker"] == list(health)
    return set(health.values()) == {"up"}


def test_web_and_worker_run_until_ctrl_c(
    run: Run, environ: dict[str, str], ports: tuple[int, int], tmp_path: Path
) -> None:
    """The database is migrated, a Redis is started, and another process sees the worker."""
    (web, redis), log = ports, tmp_path / "up.log"
    with running_up(environ, log) as process:
        poll(lambda: serves(web), process, log)
        poll(lambda: is_healthy(run, redis), process, log)
        started = time.monotonic()

        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the entire process group

        assert -signal.SIGINT == process.wait(timeout=LIMIT)
        while is_open(web) or is_open(redis):
            assert time.monotonic() - started < LIMIT, log.read_text()
            time.sleep(0.05)

    printed = log.read_text()
    for line in (
        f"http://localhost:{web}/health/ready",
        f"export REDIS_URL=redis://localhost:{redis}/0",
        "web.1 stopped (rc=-15)",
        "worker.1 stopped (rc=-15)",
    ):
        assert line in printed
    # honcho gets one signal, that of the script; and make reports no error.
    assert [] == [part for part in ("Traceback", "SIGINT received", "***") if part in printed]


def test_a_redis_port_that_is_in_use_is_an_error(
    environ: dict[str, str], ports: tuple[int, int]
) -> None:
    """The error suggests another port, and nothing is started."""
    with socket.create_server((HOST, ports[1])):
        done = subprocess.run(
            ["scripts/up.sh", Path(sys.executable).parent],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (
        1,
        f"port {ports[1]} is in use; use another: UP_REDIS_PORT={ports[1] + 1} make up\n",
    ) == (
        done.returncode,
        done.stderr,
    )


def start_up(
    environ: dict[str, str], script: Path = ROOT / "scripts/up.sh"
) -> subprocess.CompletedProcess[str]:
    """Run the script and wait for its end."""
    return subprocess.run(
        [script, Path(sys.executable).parent],
        cwd=script.parents[1],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("ports")
def test_a_second_make_up_in_the_same_folder_is_refused(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """It does not touch the files of the first one, even with other ports."""
    pid_file = tmp_path / "up/redis.pid"
    pid_file.parent.mkdir()
    pid_file.write_text(f"{os.getpid()}\n")

    refused = start_up(environ)

    assert 1 == refused.returncode
    running = f"make up is already running here: its Redis is process {os.getpid()}\n"
    assert running in refused.stderr
    assert "UP_FOLDER=.up2 make up\n" in refused.stderr
    assert [pid_file] == list(pid_file.parent.iterdir())


def test_a_web_port_that_is_in_use_is_an_error(
    environ: dict[str, str], ports: tuple[int, int], tmp_path: Path
) -> None:
    """The error comes before Redis is started."""
    with socket.create_server((HOST, ports[0])):
        refused = start_up(environ)

    line = f"port {ports[0]} is in use; use another: PORT={ports[0] + 1} make up\n"
    assert (1, line) == (refused.returncode, refused.stderr)
    assert [] == list((tmp_path / "up").iterdir())


def test_the_environment_overrides_the_file_in_all_processes(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """`migrate` and the processes use the same values, and the script reads `.env` as they do."""
    project, port = tmp_path / "project", free_port()
    (project / "scripts").mkdir(parents=True)
    script = shutil.copy(ROOT / "scripts/up.sh", project / "scripts/up.sh")
    show = "echo $DATABASE_URL port $PORT --host 0.0.0.0"
    (project / "Procfile").write_text(f"web: {show}\nworker: sleep 1\n")
    (project / "manage.py").write_text("import os\nprint('manage', os.environ['DATABASE_URL'])\n")
    (project / ".env").write_text(
        f"DATABASE_URL=sqlite:///B\nPORT = {port}\nREDIS_URL = redis://elsewhere:6379/0\n"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])

    done = start_up({**environ, "PATH": path, "DATABASE_URL": "sqlite:///A"}, Path(script))

    assert "manage sqlite:///A\n" in done.stdout, done.stderr
    assert f"sqlite:///A port {port} --host 127.0.0.1\n" in done.stdout
    assert f"http://localhost:{port}/health/ready" in done.stdout
    assert "elsewhere  export" not in done.stdout
