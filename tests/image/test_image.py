"""The image: what is in it, and that each process runs in it without rights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.image.conftest import Container, Start
from tests.support.servers.process import HOST, free_port
from tests.support.web import procfile

COMMIT = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)


def test_it_names_its_version_and_its_commit(config: dict[str, Any]) -> None:
    """The labels are those of the OCI."""
    labels = config["Labels"]
    package = tomllib.loads(Path("pyproject.toml").read_text())["project"]

    assert package["version"] == labels["org.opencontainers.image.version"]
    assert COMMIT.stdout.strip() == labels["org.opencontainers.image.revision"]


def test_it_has_no_tools_to_install_programs(root: Path) -> None:
    """Neither pip, nor the configuration with which it was built."""
    found = [*root.glob("opt/venv/bin/pip*"), *root.glob("opt/venv/lib/*/site-packages/pip")]

    assert [] == found
    assert not (root / "etc/pip.conf").exists() or not (root / "etc/pip.conf").read_text()
    assert not (root / "build").exists()


def test_every_module_is_compiled(root: Path) -> None:
    """The compiled file is used whatever the time of its source is."""
    places = (root / "srv/shop", *root.glob("opt/venv/lib/*/site-packages/oneoff"))
    sources = [source for place in places for source in place.rglob("*.py")]
    (tag,) = {path.name.split(".")[1] for path in places[0].glob("app/__pycache__/roles.*.pyc")}

    assert len(sources) > 300
    for source in sources:
        compiled = source.parent / f"__pycache__/{source.stem}.{tag}.pyc"
        assert 0b01 == compiled.read_bytes()[4], source  # by hash, and not checked


def test_no_file_belongs_to_its_user(root: Path, config: dict[str, Any]) -> None:
    """Nor can other users write one."""
    user, group = map(int, config["User"].split(":"))
    writable = [
        path
        for top in ("opt", "srv")
        for path in (root / top).rglob("*")
        if not path.is_symlink()
        and (path.stat().st_uid == user or path.stat().st_gid == group or path.stat().st_mode & 2)
    ]

    assert [] == writable


def test_it_migrates_without_rights_and_on_a_read_only_root(
    start: Start, config: dict[str, Any]
) -> None:
    """The record has the commit of the image. The second run finds nothing to do."""
    first = start("admin migrate --json")
    done = first.end()
    again = start("admin migrate --json").end()
    shown = start("admin audit list --json").end()
    written = start("touch /srv/shop/file").end()
    who = start("id -u").end()

    assert (0, True) == (done[0], json.loads(done[1])["changed"]), done
    assert (0, False) == (again[0], json.loads(again[1])["changed"]), again
    assert 0 == shown[0], shown
    assert (1, "touch: cannot touch '/srv/shop/file': Read-only file system\n") == written[::2]
    assert "0" != config["User"].split(":")[0] == who[1].strip()


def wait(good: Callable[[], bool], container: Container) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + 40
    while not good():
        assert container.process.poll() is None, container.end()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stop(container: Container) -> tuple[int, str]:
    """Send SIGTERM to process 1; return its exit code and what it logged."""
    started = time.monotonic()
    os.kill(container.first, signal.SIGTERM)
    code, _, err = container.end()
    print(f"stopped after {time.monotonic() - started:.2f} s")
    return code, err


def test_sigterm_to_process_1_stops_a_command(start: Start) -> None:
    """The kernel ignores it for a process 1 that does not handle it."""
    down = f"postgres://{HOST}:{free_port()}/shop"
    container = start("admin system health --wait 60s --only database", DATABASE_URL=down)
    wait(lambda: handles_sigterm(container), container)

    assert 143 == stop(container)[0]


def handles_sigterm(container: Container) -> bool:
    """Return whether process 1 is Python and has a handler."""
    try:
        status = Path(f"/proc/{container.first}/status").read_text()
    except (OSError, ValueError):  # it is not started yet
        return False
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    return bool(int(facts["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1) and facts["Name"] == "admin"


def test_web_and_worker_run_and_stop_as_process_1(start: Start) -> None:
    """With the lines of the Procfile, and one variable for the port."""
    port = free_port()
    start("admin migrate").end()

    web = start(procfile()["web"].replace("${PORT:-8000}", str(port)))
    worker = start(procfile()["worker"])
    wait(lambda: answers(port), web)
    wait(lambda: is_working(start), worker)

    assert 0 == stop(web)[0]
    assert 0 == stop(worker)[0]


def answers(port: int) -> bool:
    """Return whether the web process can serve requests."""
    try:
        return httpx.get(f"http://{HOST}:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def is_working(start: Start) -> bool:
    """Return whether the worker takes jobs."""
    return start("admin system health --only worker").end()[0] == 0
