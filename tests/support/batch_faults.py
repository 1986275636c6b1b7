"""Run `tally add` in real processes that are killed or whose servers are restarted."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.database import query
from tests.support.tally_project import ROOT

PATIENCE = 120
"""Seconds after which a process counts as hanging."""
SUCCEEDED = "SELECT 1 FROM oneoff_runs WHERE command = '{}' AND status = 'succeeded'"
RECORDED = "SELECT sum(rows) FROM oneoff_runs WHERE command = '{}'"
SLOW = ("tally", "add", "--slow", "0.3", "--confirm")
"""A batch that does not end before its brake is released, even if the machine is busy."""


@dataclass
class Ordeal:
    """One batch, and how often its processes were killed.

    Attributes:
        url: URL of the database.
        environ: Additional variables for the processes.
        words: Command line of the processes.
        patience: Seconds after which the process that does the remaining rows counts as hanging.
        brake: A file; batches take the time of `--slow` longer while it exists. None: they always
            do.
        kills: Number of processes that were killed before they ended.
        codes: Exit codes of the processes that ended by themselves.
    """

    url: str
    environ: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = SLOW
    patience: float = PATIENCE
    brake: Path | None = None
    kills: int = 0
    codes: list[int] = field(default_factory=list)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a process that works on the batch."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tally_project", *(words or self.words)],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": self.url,
                "ENVIRONMENT": "test",
                **self.settings,
                **environ,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    @property
    def settings(self) -> Mapping[str, str]:
        """Return the variables for all processes."""
        return {**self.environ, **({"TALLY_BRAKE": str(self.brake)} if self.brake else {})}

    def release(self) -> None:
        """Let all processes do the remaining rows quickly."""
        if self.brake:
            self.brake.unlink(missing_ok=True)

    def end(self) -> None:
        """Kill the processes that a failed test left: they would make a later test fail."""
        for process in self._started:
            with process:  # waits, and closes its pipe
                if process.poll() is None:
                    process.kill()

    def kill_after(self, seconds: float) -> bool:
        """Start a process and kill it after a time; return whether it was still running."""
        process = self.start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.communicate()
        return self._killed(process)

    def freeze(self, process: subprocess.Popen[str]) -> None:
        """Stop a process while it does not hold SQLite's lock, which would block all others."""
        process.send_signal(signal.SIGSTOP)
        while not is_free(self.url):
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)  # it continues, and may release the lock
            process.send_signal(signal.SIGSTOP)

    def die_at_commit(self, commits: int, seconds: float) -> bool:
        """Start a process that kills itself near a commit; return whether it did."""
        process = self.start(TALLY_DIE=f"{commits}:{seconds}")
        process.communicate(timeout=PATIENCE)
        return self._killed(process)

    def finish(self) -> str:
        """Let a process do the remaining rows, and return its standard error."""
        self.release()
        if self.codes:
            return "it ended before it could be killed"
        process = self.start()
        said = process.communicate(timeout=self.patience)[1]
        self.codes.append(process.returncode)
        return said

    def settle(self) -> None:
        """Let another run close the records of killed runs, as each run does."""
        process = self.start("audit", "list")
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0

    def _killed(self, process: subprocess.Popen[str]) -> bool:
        if process.returncode >= 0:
            self.codes.append(process.returncode)
            return False
        self.kills += 1
        if query(self.url, SUCCEEDED.format(" ".join(self.words[:2]))):
            self.codes.append(0)  # it had succeeded: the same command line would start a new batch
        return True

    def verdict(self, rows: int) -> tuple[int, int, int]:
        """Return the rows lost, the rows done twice, and the error of the recorded count."""
        done = dict(query(self.url, "SELECT n, count(*) FROM tally GROUP BY n"))
        recorded = query(self.url, RECORDED.format(" ".join(self.words[:2])))[0][0]
        truth = sum(times * count for times, count in done.items())
        twice = sum(count for times, count in done.items() if times > 1)
        return rows - sum(done.values()) + done.get(0, 0), twice, truth - int(recorded or 0)


def commit_moments(number: int, batches: int) -> list[tuple[int, float]]:
    """Return times near commits: before, during and just after them.

    Args:
        number: How many times to return.
        batches: Number of commits to choose from.
    """
    delays = (0.0, 0.0002, 0.0005, 0.001, 0.002)
    return [(random.randrange(2, batches), delays[at % len(delays)]) for at in range(number)]


def is_free(url: str) -> bool:
    """Return whether another process can write; on PostgreSQL always, as only rows are locked."""
    if not url.startswith("sqlite"):
        return True
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=0.05, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
    return True


def wait_for_rows(url: str, rows: int) -> None:
    """Wait until at least `rows` rows are done."""
    deadline = time.monotonic() + PATIENCE
    while query(url, "SELECT count(*) FROM tally WHERE n > 0")[0][0] < rows:
        assert time.monotonic() < deadline, f"no {rows} rows were done in time"
        time.sleep(0.02)
