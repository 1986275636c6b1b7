"""Run a batch with a fleet of real worker processes, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.batch_faults import PATIENCE, Ordeal
from tests.support.database import query
from tests.support.tally_project import ROOT

WORKER = (sys.executable, "-m", "arq", "tests.support.tally_worker.WorkerSettings")
AT_WORK = """
SELECT count(*) FROM oneoff_runs JOIN oneoff_batches ON oneoff_batches.run_id = oneoff_runs.id
WHERE oneoff_runs.pid = {} AND oneoff_runs.status = 'started' AND oneoff_batches.parent <> ''
  AND oneoff_batches.status = 'running'
"""


@dataclass
class Fleet(Ordeal):
    """A batch on which workers work.

    Attributes:
        log: File for the output of the workers.
        workers: Workers that were started, and neither killed nor asked to stop.
        leaving: Workers that were asked to stop.
    """

    log: Path = Path(os.devnull)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    leaving: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def hire(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        environ = {"DATABASE_URL": self.url, "ENVIRONMENT": "test", "LOG_LEVEL": "warning"}
        with self.log.open("ab") as stream:
            worker = subprocess.Popen(
                WORKER,
                cwd=ROOT,
                env={**os.environ, **environ, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        self.workers.append(worker)
        return worker

    def kill_worker(self) -> None:
        """Kill the oldest worker."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()
        self.kills += 1

    def kill_worker_at_work(self) -> None:
        """Kill a worker that is working on a shard.

        A worker is frozen before it is checked, so that it still has the shard when it dies.
        """
        deadline = time.monotonic() + PATIENCE
        while not (found := [worker for worker in self.workers if self._freeze_at_work(worker)]):
            assert time.monotonic() < deadline, "no worker worked on a shard in time"
            time.sleep(0.02)
        for worker in found[1:]:
            worker.send_signal(signal.SIGCONT)
        self.workers.remove(found[0])
        self.workers.insert(0, found[0])
        self.kill_worker()

    def _freeze_at_work(self, worker: subprocess.Popen[bytes]) -> bool:
        worker.send_signal(signal.SIGSTOP)
        if query(self.url, AT_WORK.format(worker.pid))[0][0]:
            return True
        worker.send_signal(signal.SIGCONT)
        return False

    def stop_worker(self) -> None:
        """Ask the oldest worker to stop."""
        worker = self.workers.pop(0)
        worker.terminate()
        self.leaving.append(worker)

    @contextmanager
    def of(self, workers: int) -> Iterator[None]:
        """Run this number of workers until the end of the block."""
        try:
            for _ in range(workers):
                self.hire()
            yield
        finally:
            while self.workers:
                self.stop_worker()
            for worker in self.leaving:
                worker.wait(PATIENCE)
