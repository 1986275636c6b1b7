"""A batch on real worker processes that are killed and stopped: each row is done once.

`make faults` runs the same many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import AtHead
from tests.support.batch_faults import PATIENCE, wait_for_rows
from tests.support.database import query
from tests.support.fleet_faults import Fleet
from tests.support.tally_project import make_tally

ROWS = 4_000
RIGHT = (0, 0, 0)
"""Rows that were lost, rows that were done twice, difference to the rows in the records."""
WORDS = ("tally", "add", "--shards", "6", "--fleet", "--slow", "0.3", "--confirm")


@pytest.fixture
def fleet(
    at_head: AtHead,
    environ: dict[str, str],
    postgres_url: str,
    redis_url: str,
    tmp_path: Path,
) -> Iterator[Fleet]:
    """Prepare a batch, and two workers."""
    at_head.bring(postgres_url)
    make_tally(postgres_url, ROWS)
    brake = tmp_path / "brake"
    brake.touch()
    fleet = Fleet(
        postgres_url,
        {**environ, "REDIS_URL": redis_url},
        words=WORDS,
        brake=brake,
        log=tmp_path / "workers.log",
    )
    with fleet.of(2):
        yield fleet


def test_another_worker_does_the_shards_of_a_killed_worker(fleet: Fleet) -> None:
    """The supervisor detects that, and queues them again."""
    supervisor = fleet.start()
    wait_for_rows(fleet.url, 400)

    fleet.kill_worker_at_work()
    fleet.release()
    said = supervisor.communicate(timeout=PATIENCE)[1]
    states = dict(query(fleet.url, "SELECT status, count(*) FROM oneoff_runs GROUP BY status"))

    assert (0, RIGHT) == (supervisor.returncode, fleet.verdict(ROWS)), said + fleet.log.read_text()
    assert states["abandoned"] >= 1


def test_supervisors_and_workers_can_be_replaced(fleet: Fleet) -> None:
    """The supervisor is killed, a worker is stopped; the same command resumes the same shards."""
    first = fleet.start()
    wait_for_rows(fleet.url, 400)
    first.kill()
    first.communicate()
    fleet.hire()
    fleet.stop_worker()

    fleet.release()
    second = fleet.start()
    said = second.communicate(timeout=PATIENCE)[1]

    assert (0, RIGHT) == (second.returncode, fleet.verdict(ROWS)), said + fleet.log.read_text()
    assert [(1,)] == query(fleet.url, "SELECT count(*) FROM oneoff_batches WHERE parent = ''")
