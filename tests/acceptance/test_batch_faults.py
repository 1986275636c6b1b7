"""Batches in real processes that are killed or lose their connection: each row is done once.

`make faults` runs the same hundreds of times.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.conftest import AtHead
from tests.support.batch_faults import PATIENCE, SLOW, Ordeal, commit_moments, wait_for_rows
from tests.support.database import query
from tests.support.servers import Postgres, Proxy
from tests.support.tally_project import execute, make_tally

ROWS = 4_000
RIGHT = (0, 0, 0)
"""Rows that were lost, rows that were done twice, difference to the rows in the records."""

RANGES = ("tally", "raise-all", "--duty", "4", "--confirm")
"""A batch whose commits don't wait for the disk, and which pauses for most of the time."""

Prepare = Callable[[str], Ordeal]


@pytest.fixture
def prepare(at_head: AtHead, environ: dict[str, str], tmp_path: Path) -> Iterator[Prepare]:
    """Return a function that migrates a database and inserts rows."""
    brake = tmp_path / "brake"
    brake.touch()
    with ExitStack() as stack:

        def prepare(url: str) -> Ordeal:
            at_head.bring(url)
            make_tally(url, ROWS)
            ordeal = Ordeal(url, environ, brake=brake)
            stack.callback(ordeal.end)
            return ordeal

        yield prepare


@pytest.fixture
def ordeal(prepare: Prepare, database_url: str) -> Ordeal:
    """Prepare a batch on both databases."""
    return prepare(database_url)


def test_after_kills_at_random_times_no_row_is_lost_or_done_twice(ordeal: Ordeal) -> None:
    """Each run resumes the batch immediately, and the records of all runs count every row."""
    while ordeal.kills < 3 and not ordeal.codes:
        ordeal.kill_after(random.uniform(0.4, 1.0))

    said = ordeal.finish()

    assert ([0], RIGHT) == (ordeal.codes, ordeal.verdict(ROWS)), said


def test_each_shard_of_a_killed_run_resumes_after_its_own_checkpoint(
    prepare: Prepare, postgres_url: str
) -> None:
    """Four of them are active when the run is killed."""
    ordeal = prepare(postgres_url)
    ordeal.words = ("tally", "add", "--shards", "6", "--slow", "0.3", "--confirm")
    while ordeal.kills < 2 and not ordeal.codes:
        ordeal.kill_after(random.uniform(0.6, 1.0))

    said = ordeal.finish()

    assert ([0], RIGHT) == (ordeal.codes, ordeal.verdict(ROWS)), said


def test_after_kills_around_a_commit_no_row_is_lost_or_done_twice(ordeal: Ordeal) -> None:
    """Before the commit, during it, and just after it."""
    ordeal.release()
    for moment in commit_moments(3, 8):
        assert ordeal.die_at_commit(*moment)

    said = ordeal.finish()

    assert ([0], RIGHT) == (ordeal.codes, ordeal.verdict(ROWS)), said


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_the_committed_rows_are_kept(ordeal: Ordeal, signum: signal.Signals) -> None:
    """The message counts them."""
    process = ordeal.start()
    wait_for_rows(ordeal.url, 200)

    process.send_signal(signum)
    said = process.communicate(timeout=PATIENCE)[1]
    states = query(ordeal.url, "SELECT status, note FROM oneoff_batches")
    done = query(ordeal.url, "SELECT count(*) FROM tally WHERE n = 1")[0][0]

    assert {signal.SIGINT: 130, signal.SIGTERM: 143}[signum] == process.returncode
    assert f"saved: {done:,} rows changed by this run" in said
    assert [("stopped", "interrupted")] == states
    assert (ROWS - done, 0, 0) == ordeal.verdict(ROWS)


def test_the_second_of_two_runs_is_refused(ordeal: Ordeal) -> None:
    """The message has the id of the first run, which continues."""
    first = ordeal.start()
    wait_for_rows(ordeal.url, 100)
    run_id = query(ordeal.url, "SELECT run_id FROM oneoff_batches")[0][0]

    second = ordeal.start()
    said = second.communicate(timeout=PATIENCE)[1]
    ordeal.release()
    first.communicate(timeout=PATIENCE)

    assert (75, 0) == (second.returncode, first.returncode)
    assert (
        f"error[batch-running]: tally add is already running with these arguments: run {run_id}"
    ) in said
    assert RIGHT == ordeal.verdict(ROWS)


@pytest.mark.parametrize("words", [SLOW, RANGES])
def test_a_run_waits_for_a_crashed_server(
    prepare: Prepare, postgres_server: Postgres, postgres_url: str, words: tuple[str, ...]
) -> None:
    """It reads its checkpoint, also if its commits did not wait for the disk, and finishes."""
    ordeal = prepare(postgres_url)
    ordeal.words = words
    process = ordeal.start()

    for rows in (300, 1_200):
        wait_for_rows(postgres_url, rows)
        postgres_server.restart("immediate")
    ordeal.release()
    said = process.communicate(timeout=PATIENCE)[1]

    assert (0, RIGHT) == (process.returncode, ordeal.verdict(ROWS)), said


def test_a_run_reconnects_after_a_reset_or_silent_connection(
    prepare: Prepare, postgres_proxy: Proxy, postgres_url: str
) -> None:
    """Two resets, and a silence that is longer than the timeout of a batch."""
    ordeal = prepare(postgres_url)
    url = postgres_proxy.url(postgres_url)
    process = ordeal.start(DATABASE_URL=url, TALLY_TIMEOUT="1")

    for rows in (300, 600):
        wait_for_rows(postgres_url, rows)
        postgres_proxy.cut()
    wait_for_rows(postgres_url, 900)
    postgres_proxy.half_open()
    before, deadline = postgres_proxy.connections, time.monotonic() + PATIENCE
    while postgres_proxy.connections == before:  # until it tries to connect again
        assert time.monotonic() < deadline
        time.sleep(0.02)
    postgres_proxy.heal()
    ordeal.release()
    said = process.communicate(timeout=PATIENCE)[1]

    assert (0, RIGHT) == (process.returncode, ordeal.verdict(ROWS)), said


def test_a_run_stops_when_the_database_stays_unavailable(
    prepare: Prepare, postgres_proxy: Proxy, postgres_url: str
) -> None:
    """Exit code 69; the message counts the committed rows, and the next run does the others."""
    ordeal = prepare(postgres_url)
    url = postgres_proxy.url(postgres_url)
    process = ordeal.start(DATABASE_URL=url, TALLY_RECONNECT="1")
    wait_for_rows(postgres_url, 300)

    postgres_proxy.refuse()
    said = process.communicate(timeout=PATIENCE)[1]
    ordeal.finish()

    assert 69 == process.returncode
    assert "the database was lost, and was not available again within 1 s\n" in said
    assert "committed rows are kept (" in said
    assert ([0], RIGHT) == (ordeal.codes, ordeal.verdict(ROWS))


def test_a_run_whose_batch_was_taken_over_saves_nothing_more(ordeal: Ordeal) -> None:
    """The first run sleeps until it is treated as dead."""
    first = ordeal.start()
    wait_for_rows(ordeal.url, 100)
    ordeal.freeze(first)
    execute(ordeal.url, "UPDATE oneoff_runs SET status = 'abandoned'")
    done = query(ordeal.url, "SELECT count(*) FROM tally WHERE n > 0")[0][0]

    second = ordeal.start()
    wait_for_rows(ordeal.url, done + 1)
    first.send_signal(signal.SIGCONT)
    ordeal.release()
    said = first.communicate(timeout=PATIENCE)[1]
    second.communicate(timeout=PATIENCE)

    assert (75, 0) == (first.returncode, second.returncode), said
    assert "error[batch-taken-over]" in said
    assert RIGHT == ordeal.verdict(ROWS)
