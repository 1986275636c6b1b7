"""`--duty`: a batch rests between its transactions, and still hears who asks it to stop."""

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
"""Or more: the first has 100 rows, and none has over 200."""
SLOW = 0.02
"""Seconds that a batch takes at least."""


async def test_a_run_rests_in_proportion_to_its_batches(tally: Manage, url: str) -> None:
    """At work for a tenth of the time, it rests nine times as long as it works."""
    started = monotonic()
    done = await tally(f"tally add --slow {SLOW} --duty 10 --confirm")
    took = monotonic() - started

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert {1: ROWS} == times_done(url)
    assert took > (BATCHES - 1) * SLOW * 9


async def test_a_run_rests_between_its_shards_too(tally: Manage, url: str) -> None:
    """Each of them is less than a batch, and they are worked at one after the other."""
    started = monotonic()
    done = await tally(f"tally add --slow {SLOW} --duty 10 --shards 10 --confirm")
    took = monotonic() - started

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert took > 9 * SLOW * 9


async def test_a_resting_run_says_so_and_can_be_cancelled(tally: Manage, url: str) -> None:
    """A rest may be long; nobody has to wait for its end."""
    resting = asyncio.create_task(tally("tally add --slow 0.1 --duty 1 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE note <> ''")
    listed = await tally("batch list --json")
    batch = listed.json["data"][0]["batch"]
    shown = await tally(f"batch show {batch} --json")
    cancelled = await tally(f"batch cancel {batch} --confirm")
    ended = await resting

    assert "resting: 1 % of the time at work" == shown.json["data"]["note"]
    assert (0, 1) == (cancelled.exit_code, ended.exit_code)
    assert f"error[batch-cancelled]: an operator has given the batch {batch} up\n" in ended.stderr
    assert {0: 900, 1: 100} == times_done(url)


async def test_the_time_that_a_run_may_take_ends_in_a_rest_too(tally: Manage, url: str) -> None:
    """Otherwise it would be over by as long as the rest."""
    stopped = await tally("tally add --slow 0.1 --duty 1 --max-time 600ms --confirm")

    assert 75 == stopped.exit_code
    assert "stopped after 100 rows: --max-time 0.6s\n" in stopped.stderr
    assert {0: 900, 1: 100} == times_done(url)


async def test_how_fast_a_run_goes_does_not_make_it_another_batch(tally: Manage, url: str) -> None:
    """An operator who finds it too slow stops it, and lets it go on faster."""
    await tally("tally add --duty 50 --max-rows 100 --confirm")
    faster = await tally("tally add --confirm")

    assert "resuming" in faster.stderr
    assert {1: ROWS} == times_done(url)


def test_a_share_of_the_time_is_a_percentage() -> None:
    """Wherever it is declared or given."""
    with pytest.raises(UsageError, match=r"--duty 0 is not a percentage from 0\.1 to 100"):
        Add(duty=0)
    with pytest.raises(TypeError, match=r"batch_duty 101 is not a percentage from 0\.1 to 100"):
        type("Hasty", (BatchCommand,), {"batch_duty": 101})
    with pytest.raises(ValueError, match=r"'old': duty 0 is not a percentage from 0\.1 to 100"):
        Retention(name="old", help="Old rows.", age=Tally.age, days=1, duty=0)


def test_what_is_given_goes_before_what_is_declared() -> None:
    """The author knows the table, the operator the hour."""
    careful = type("Careful", (Add,), {"batch_duty": 5})

    assert (5, 50) == (careful().percent_at_work, careful(duty=50).percent_at_work)
