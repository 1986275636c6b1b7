"""TERM, INT and HUP stop a run cleanly at any time; the next run detects a kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from oneoff.runtime import signals
from tests.acceptance.conftest import AtHead, Run, Start
from tests.support.database import query

PROJECT = Path(__file__).parent / "project"
SOON = 15.0
"""Seconds that a cancelled run may take on a busy machine; the command itself never ends."""
KILLED_IN_FINALIZER = """\
import os
import signal

from oneoff import Project


class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


Finalized()
project = Project("shop", commands=("commands",))
"""
FREED_LATE = """\
import os
import signal
import sys

from oneoff.runtime import signals


class Freed:
    def __del__(self, alarm=signal.alarm, write=os.write):
        write(1, str(alarm(0)).encode())


freed = Freed()
signals.install()
with signals.cancelling(lambda: None):
    os.kill(os.getpid(), signal.SIGTERM)
signal.alarm(1)  # as if all other seconds had passed
sys.exit(143)
"""
TOUCH = """\
from pathlib import Path

from oneoff import BaseCommand, Result


class Touch(BaseCommand):
    'Create a file.'

    examples = ("touch",)

    async def handle(self) -> Result:
        Path("touched").touch()
        return Result.unchanged("touched")
"""
STOPPED = {signal.SIGTERM: 143, signal.SIGHUP: 143, signal.SIGINT: 130}


@pytest.fixture
def migrated(at_head: AtHead, database_url: str, environ: dict[str, str]) -> str:
    """Migrate the database of the test, and let all its processes use it."""
    environ |= {"DATABASE_URL": database_url, "ENVIRONMENT": "test"}
    at_head.bring(database_url, PROJECT)
    return database_url


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return the path of a file that a command creates when it waits."""
    return tmp_path / "marker"


def start_with_grace(seconds: int, environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    """Start a command whose process has this many seconds to stop, instead of 20."""
    code = (
        f"import sys, oneoff.runtime.signals as signals; signals.GRACE_SECONDS = {seconds}\n"
        "from oneoff.cli import main\n"
        "sys.argv[0] = 'manage.py'; raise SystemExit(main('app.project:project'))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=PROJECT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the process has created the file."""
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> tuple[int, float]:
    """Wait for the end of a process; return the exit code and the seconds it took."""
    started = time.monotonic()
    process.communicate(timeout=60)
    return process.returncode, time.monotonic() - started


def statuses(url: str) -> list[str]:
    """Return the states of the runs of `fill`, in order."""
    found = query(url, "SELECT status FROM oneoff_runs WHERE command = 'fill' ORDER BY started_at")
    return [str(row[0]) for row in found]


@pytest.mark.parametrize("signum", STOPPED)
@pytest.mark.parametrize("where", ["loop", "sql"])
def test_a_signal_rolls_back_and_closes_the_run(
    start: Start, migrated: str, marker: Path, signum: signal.Signals, where: str
) -> None:
    """In Python code and during a statement, which is cancelled on the server too."""
    if where == "sql" and migrated.startswith("sqlite"):
        where = "loop"  # SQLite has no statement that waits
    process = start(["fill", str(marker), "--wait-in", where], cwd=PROJECT)
    wait_for(marker, process)

    process.send_signal(signum)
    code, seconds = ended(process)

    assert STOPPED[signum] == code
    assert seconds < SOON
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
    assert ["interrupted"] == statuses(migrated)


def test_a_signal_that_the_parent_ignores_stays_ignored(
    start: Start, migrated: str, marker: Path
) -> None:
    """As under `nohup`, or in the background of a shell script."""
    ignoring = ("sh", "-c", 'trap "" HUP INT; exec "$@"', "sh")
    process = start(["fill", str(marker)], cwd=PROJECT, wrapper=ignoring)
    wait_for(marker, process)

    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)

    assert 143 == process.returncode
    assert "stopped by SIGTERM" in complaint
    assert ["interrupted"] == statuses(migrated)


def test_five_sigterms_have_the_same_effect_as_one(
    start: Start, migrated: str, marker: Path
) -> None:
    """Some platforms send the signal repeatedly."""
    process = start(["fill", str(marker)], cwd=PROJECT)
    wait_for(marker, process)

    for _ in range(5):
        process.send_signal(signal.SIGTERM)

    assert 143 == ended(process)[0]
    assert ["interrupted"] == statuses(migrated)


def test_a_second_interrupt_ends_the_process_immediately(start: Start, marker: Path) -> None:
    """Even if the command ignores the first one."""
    process = start(["stubborn", str(marker)], cwd=PROJECT)
    wait_for(marker, process)
    process.send_signal(signal.SIGINT)
    wait_for(marker.with_suffix(".cancelled"), process)

    process.send_signal(signal.SIGINT)
    code, seconds = ended(process)

    assert 130 == code
    assert seconds < SOON


def test_a_command_that_ignores_the_signal_ends_after_the_grace(
    environ: dict[str, str], marker: Path
) -> None:
    """A run can delay a deployment, but not block it. Here the grace is 1 second instead of 20."""
    process = start_with_grace(1, environ, "stubborn", str(marker))
    wait_for(marker, process)

    process.send_signal(signal.SIGTERM)
    exit_code, seconds = ended(process)

    assert 143 == exit_code
    assert seconds < 1 + SOON


@pytest.mark.parametrize("command", ["stubborn", "block", "busy"])
def test_the_deadline_ends_a_command_that_does_not_stop(
    environ: dict[str, str], marker: Path, command: str
) -> None:
    """It ignores that it is cancelled, or blocks a thread or the event loop."""
    process = start_with_grace(1, environ, command, str(marker), "--timeout", "3s")
    wait_for(marker, process)

    exit_code, seconds = ended(process)

    assert 75 == exit_code
    assert seconds < 3 + 1 + SOON


def test_a_blocked_thread_does_not_keep_the_process_alive(start: Start, marker: Path) -> None:
    """A `def handle` runs in a thread and can't be cancelled, but the process ends anyway."""
    process = start(["block", str(marker)], cwd=PROJECT)
    wait_for(marker, process)

    process.send_signal(signal.SIGTERM)
    code, seconds = ended(process)

    assert 143 == code
    assert seconds < SOON


def test_a_signal_at_any_time_leaves_no_partial_work(
    start: Start, migrated: str, marker: Path
) -> None:
    """From the first import to the last line. A failure prints the seed.

    SIGNAL_MOMENTS is the number of moments; `make faults` sets a large one.
    """
    seed = random.randrange(1_000_000)
    moments = random.Random(seed)
    line = ["fill", str(marker), "--wait-in", "nothing", "--dry-run"]
    started = time.monotonic()
    start(line, cwd=PROJECT).communicate(timeout=60)
    life = min(time.monotonic() - started, 0.9)
    for attempt in range(int(os.environ.get("SIGNAL_MOMENTS", "8"))):
        process = start(line, cwd=PROJECT)
        time.sleep(moments.uniform(0, life))
        signum = moments.choice(list(STOPPED))
        process.send_signal(signum)
        _, stderr = process.communicate(timeout=60)
        # Before our first line runs, Python handles the signal: it ends with -signum, or the start
        # of the interpreter fails. After our last line, the run has succeeded.
        failed_start = "init_import_site" in stderr or "Fatal Python error: init_" in stderr
        allowed = {0, STOPPED[signum], -signum} | ({1} if failed_start else set())
        assert process.returncode in allowed, (seed, attempt, signum, stderr)
    assert [(0,)] == query(migrated, "SELECT count(*) FROM item")
    assert set(statuses(migrated)) <= {"interrupted", "succeeded"}, seed


def test_the_interpreter_gets_the_whole_time_again_to_free_its_modules() -> None:
    """The alarm has no handler then, and would end the process with the code of SIGALRM."""
    done = subprocess.run(
        [sys.executable, "-c", FREED_LATE], capture_output=True, text=True, timeout=30, check=False
    )

    assert 143 == done.returncode, done.stderr
    assert signals.GRACE_SECONDS - 10 < int(done.stdout)


def test_signals_work_for_the_first_process_of_a_container(
    start: Start, migrated: str, marker: Path
) -> None:
    """For PID 1 the kernel ignores signals without a handler."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    process = start(
        ["fill", str(marker)],
        cwd=PROJECT,
        wrapper=["unshare", *as_root, "--pid", "--fork", "--mount-proc"],
    )
    wait_for(marker, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(int(children[0]), signal.SIGTERM)
    code, seconds = ended(process)

    assert 143 == code
    assert seconds < SOON
    assert ["interrupted"] == statuses(migrated)


def test_the_next_run_sets_the_state_of_a_killed_run_to_abandoned(
    start: Start, run: Run, migrated: str, marker: Path
) -> None:
    """The server has rolled back the work of the killed run."""
    process = start(["fill", str(marker)], cwd=PROJECT)
    wait_for(marker, process)
    assert ["started"] == statuses(migrated)

    process.kill()
    process.communicate(timeout=60)
    done = run(["fill", str(marker), "--wait-in", "nothing"], cwd=PROJECT)

    assert 0 == done.returncode, done.stderr
    assert ["abandoned", "succeeded"] == statuses(migrated)
    assert [(10,)] == query(migrated, "SELECT count(*) FROM item")


def test_a_run_that_is_still_active_is_not_abandoned(
    start: Start, run: Run, migrated: str, marker: Path
) -> None:
    """Another run that starts meanwhile does not change its state."""
    process = start(["pause", str(marker)], cwd=PROJECT)
    wait_for(marker, process)

    done = run(["fill", str(marker), "--wait-in", "nothing"], cwd=PROJECT)

    found = query(migrated, "SELECT status FROM oneoff_runs WHERE command = 'pause'")
    process.kill()
    process.communicate(timeout=60)
    assert 0 == done.returncode, done.stderr
    assert [("started",)] == found


def test_a_signal_that_arrives_in_a_finalizer_stops_the_process_before_the_run(
    make_project: Callable[[Mapping[str, str]], Path], run: Run
) -> None:
    """Python ignores the exception that the handler raises there."""
    folder = make_project({"app/project.py": KILLED_IN_FINALIZER, "commands/touch.py": TOUCH})

    done = run(["touch"], cwd=folder)

    assert 143 == done.returncode, done.stderr
    assert "Exception ignored in" in done.stderr
    assert not (folder / "touched").exists()
