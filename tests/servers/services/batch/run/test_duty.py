"""`--duty`: a batch pauses between its transactions, and can be stopped during a pause."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from oneoff import UsageError
from oneoff.services.batch.command import BatchCommand
from oneoff.services.retention.rules import Retention
from oneoff.testing import Manage
from tests.support.tally_commands.tally.add import Add
from tests.support.tally_project import ROWS, Tally, times_done, until

BATCHES = 5
"""The lowest number of batches: the first has 100 rows, and none has more than 200."""
SLOW = 0.02  # seconds that a batch takes at least


async def test_a_run_pauses_in_proportion_to_its_batches(tally: Manage, url: str) -> None:
    """With a duty of 10 %, it pauses nine times as long as it works."""
    started = monotonic()
    done = await tally(f"tally add --slow {SLOW} --duty 10 --confirm")
    took = monotonic() - started

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert {1: ROWS} == times_done(url)
    assert took > (BATCHES - 1) * SLOW * 9


async def test_a_run_pauses_between_its_shards_too(tally: Manage, url: str) -> None:
    """Each shard has fewer rows than a batch, and the shards run one after the other."""
    started = monotonic()
    done = await tally(f"tally add --slow {SLOW} --duty 10 --shards 10 --confirm")
    took = monotonic() - started

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert took > 9 * SLOW * 9


async def test_a_run_shows_its_pause_and_can_be_cancelled_during_it(
    tally: Manage, url: str
) -> None:
    """A pause may be long, and the operator does not have to wait for its end."""
    pausing = asyncio.create_task(tally("tally add --slow 0.1 --duty 1 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE note <> ''")
    listed = await tally("batch list --json")
    batch = listed.json["data"][0]["batch"]
    shown = await tally(f"batch show {batch} --json")
    cancelled = await tally(f"batch cancel {batch} --confirm")
    ended = await pausing

    assert "pause between batches: the duty is 1 %" == shown.json["data"]["note"]
    assert (0, 1) == (cancelled.exit_code, ended.exit_code)
    assert f"error[batch-cancelled]: an operator has cancelled the batch {batch}\n" in ended.stderr
    assert {0: 900, 1: 100} == times_done(url)


async def test_max_time_can_end_a_run_during_a_pause(tally: Manage, url: str) -> None:
    """Otherwise the run would take longer by the duration of the pause."""
    stopped = await tally("tally add --slow 0.1 --duty 1 --max-time 600ms --confirm")

    assert 75 == stopped.exit_code
    assert "stopped after 100 rows: --max-time 0.6s\n" in stopped.stderr
    assert {0: 900, 1: 100} == times_done(url)


async def test_a_run_with_another_duty_resumes_the_same_batch(tally: Manage, url: str) -> None:
    """An operator can stop a slow batch, and resume it with a higher duty."""
    await tally("tally add --duty 50 --max-rows 100 --confirm")
    faster = await tally("tally add --confirm")

    assert "resuming" in faster.stderr
    assert {1: ROWS} == times_done(url)


def test_a_duty_that_is_not_a_percentage_is_refused() -> None:
    """As an option, in a batch command, and in a retention rule."""
    with pytest.raises(UsageError, match=r"--duty 0 is not a percentage from 0\.1 to 100"):
        Add(duty=0)
    with pytest.raises(TypeError, match=r"batch_duty 101 is not a percentage from 0\.1 to 100"):
        type("Hasty", (BatchCommand,), {"batch_duty": 101})
    with pytest.raises(ValueError, match=r"'old': duty 0 is not a percentage from 0\.1 to 100"):
        Retention(name="old", help="Old rows.", age=Tally.age, days=1, duty=0)


def test_the_duty_option_overrides_the_declared_duty() -> None:
    """The author knows the table, the operator knows the current load."""
    careful = type("Careful", (Add,), {"batch_duty": 5})

    assert (5, 50) == (careful().percent_at_work, careful(duty=50).percent_at_work)
