"""deploy/systemd: systemd itself verifies the units. None is started here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from oneoff.cli.dispatch import dispatch
from oneoff.core.outcome import Call
from oneoff.runtime.application import load_application
from tests.support.web import procfile

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/systemd"
BIN = "/opt/shop/.venv/bin/"
SERVICES = sorted(path.name for path in FOLDER.glob("*.service"))

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="this machine has no systemd"
)


def command(service: str) -> list[str]:
    """Return the command line of a service, without the folder of its program."""
    unit = RawConfigParser()
    unit.read(FOLDER / service)
    return unit["Service"]["ExecStart"].removeprefix(BIN).split()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a copy of the units, whose programs and folders exist on this machine."""
    copy = tmp_path / "units"
    shutil.copytree(FOLDER, copy)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("admin", "arq", "uvicorn"):
        (programs / name).symlink_to(shutil.which("true") or "")
    for path in copy.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace(BIN, f"{programs}/"))
    return copy


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze for these units, with drop-ins and the units of the machine."""
    return subprocess.run(
        ["systemd-analyze", *words, *sorted(map(str, units.glob("shop*.*[!d]")))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_accepts_the_units(units: Path) -> None:
    """It warns of nothing in them."""
    done = analyze(units, "verify")

    assert 0 == done.returncode, done.stderr
    assert [] == [line for line in done.stderr.splitlines() if "shop" in line]


def test_systemd_finds_a_misspelled_setting(units: Path) -> None:
    """In the settings that all services have."""
    common = units / "shop-.service.d/common.conf"
    common.write_text(f"{common.read_text()}ProtectHme=yes\n")

    assert ["ProtectHme"] * len(SERVICES) == re.findall(
        r"Unknown key.*'(\w+)'", analyze(units, "verify").stderr
    )


def test_the_sandbox_of_the_services_is_strict(units: Path) -> None:
    """The program rates the exposure of each from 0 to 10; above 2.5 it fails."""
    services = [str(units / service) for service in SERVICES]
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=25",
            "--no-pager",
            *services,
        ],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout


def test_services_run_the_lines_of_the_procfile_and_commands_of_the_project() -> None:
    """The web process can be reached from this machine only."""
    app = load_application("app.project:project", str(ROOT), {})
    web = re.sub("--host [0-9.]+", "--host 127.0.0.1", procfile()["web"])

    assert web.replace("${PORT:-8000}", "8000").split() == command("shop-web.service")
    assert procfile()["worker"].split() == command("shop-worker.service")
    for service in set(SERVICES) - {"shop-web.service", "shop-worker.service"}:
        program, *words = command(service)
        assert "admin" == program
        assert isinstance(dispatch(app, words, "admin"), Call)


@pytest.mark.parametrize("service", SERVICES)
def test_only_a_service_that_runs_until_it_is_stopped_may_end_by_sigterm(service: str) -> None:
    """If a stopped migration were a success, web and worker would start on the old schema."""
    settings = RawConfigParser()
    settings.read([FOLDER / service, FOLDER / "shop-.service.d/common.conf"])

    accepted = settings["Service"].get("SuccessExitStatus", "").split()
    assert (settings["Service"]["Type"] == "exec") == ("143" in accepted)
