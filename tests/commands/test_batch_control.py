"""`batch list`, `show`, `pause`, `resume`, `cancel`: another terminal on a batch at work."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.tally_project import ROWS, execute, times_done, until

CAREFUL = "tally careful --confirm"
"""Waits between batches while the first row is old."""


@asynccontextmanager
async def at_work(tally: Manage, url: str) -> AsyncIterator[tuple[str, asyncio.Task[Finished]]]:
    """Run a batch beside the block; give its id once it has begun, and its end."""
    task = asyncio.create_task(tally(CAREFUL))
    await until(url, "SELECT count(*) FROM oneoff_batches")
    yield str(query(url, "SELECT id FROM oneoff_batches")[0][0]), task
    await task


def brake(url: str, *, on: bool) -> None:
    """Make the first row old, or young again."""
    execute(url, f"UPDATE tally SET age = {500 if on else 0} WHERE id = 1")


async def test_a_paused_batch_waits_and_goes_on(tally: Manage, url: str) -> None:
    """It says what it waits for, and does nothing meanwhile."""
    brake(url, on=True)
    async with at_work(tally, url) as (batch, running):
        paused = await tally(f"batch pause {batch}")
        await until(url, "SELECT status = 'paused' FROM oneoff_batches")
        brake(url, on=False)
        shown = await tally(f"batch show {batch} --json")
        again = await tally(f"batch pause {batch}")
        beside = await tally(CAREFUL)
        before = times_done(url)
        resumed = await tally(f"batch resume {batch}")
        done = await running

    assert (0, 0, 0) == (paused.exit_code, resumed.exit_code, done.exit_code), done.stderr
    assert ("paused", {0: ROWS}) == (shown.json["data"]["state"], before)
    assert f"{batch}: it was asked to pause already" in again.stdout
    assert "error[batch-running]: tally careful is paused with these arguments" in beside.stderr
    assert f"  try:  python manage.py batch resume {batch}\n" in beside.stderr
    assert f"paused: python manage.py batch resume {batch} lets it go on\n" in done.stderr
    assert {1: ROWS} == times_done(url)


async def test_a_cancelled_batch_ends_and_the_next_run_begins_anew(tally: Manage, url: str) -> None:
    """The run that was at work ends with 1."""
    brake(url, on=True)
    async with at_work(tally, url) as (batch, running):
        cancelled = await tally(f"batch cancel {batch} --confirm")
        ended = await running
    brake(url, on=False)
    again = await tally(CAREFUL)

    assert (0, 1) == (cancelled.exit_code, ended.exit_code)
    assert f"error[batch-cancelled]: an operator has given the batch {batch} up\n" in ended.stderr
    assert "saved:" not in ended.stderr
    assert (0, ROWS) == (again.exit_code, again.rows)
    assert "resuming" not in again.stderr


async def test_a_batch_that_stopped_is_given_up_at_once(tally: Manage, url: str) -> None:
    """There is nobody to ask; pausing it would mean nothing."""
    await tally("tally add --max-rows 100 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches")[0][0]

    paused = await tally(f"batch pause {batch}")
    resumed = await tally(f"batch resume {batch}")
    cancelled = await tally(f"batch cancel {batch} --confirm")
    again = await tally(f"batch cancel {batch} --confirm")
    too_late = await tally(f"batch resume {batch}")

    assert f"{batch}: it does not run" in paused.stdout
    line = "python manage.py tally add --max-rows 100 --confirm"
    assert (1, 1) == (resumed.exit_code, too_late.exit_code)
    assert (
        f"error[batch-not-running]: {batch} does not go on: nobody works at it\n" in resumed.stderr
    )
    assert f"  try:  {line}\n" in resumed.stderr
    assert f"{batch} is given up; what it did stays" in cancelled.stdout
    assert f"{batch}: it is cancelled" in again.stdout
    assert "it is cancelled; `tally add` begins a new one" in too_late.stderr
    assert [("cancelled",)] == query(url, "SELECT status FROM oneoff_batches")


async def test_a_batch_shows_who_has_it_and_what_can_be_done(tally: Manage, url: str) -> None:
    """While it runs it may be paused, stopped its own command goes on, ended there is nothing."""
    brake(url, on=True)
    async with at_work(tally, url) as (batch, _):
        running = (await tally(f"batch show {batch} --json")).json["data"]
        brake(url, on=False)
    await tally(["tally", "add", "--name", "a b", "--new-run", "--max-rows", "100", "--confirm"])
    stopped = query(url, "SELECT id FROM oneoff_batches WHERE status = 'stopped'")[0][0]

    left = (await tally(f"batch show {stopped} --json")).json["data"]
    ended = (await tally(f"batch show {batch} --json")).json["data"]

    assert f"python manage.py batch pause {batch}" == running["next"]
    line = "python manage.py tally add --name 'a b' --max-rows 100 --confirm"
    assert (line, "") == (left["next"], ended["next"])
    assert f"tester on {socket.gethostname()}" == running["by"]


async def test_where_there_is_no_batch_the_list_says_so(tally: Manage) -> None:
    """No output at all would look like a failure."""
    listed = await tally("batch list")
    unfinished = await tally("batch list --unfinished")

    assert "no batch has been started yet\n" == listed.stdout
    assert "no batch is unfinished\n" == unfinished.stdout


async def test_batches_are_listed_with_their_states(tally: Manage, url: str) -> None:
    """The newest first; an unfinished one can be asked for alone."""
    await tally("tally purge 10 --confirm")
    await tally("tally add --max-rows 100 --confirm")

    every = await tally("batch list --json")
    unfinished = await tally("batch list --unfinished --json")

    assert [("tally add", "stopped", 100), ("tally purge", "finished", 99)] == [
        (row["command"], row["state"], row["rows_changed"]) for row in every.json["data"]
    ]
    assert ["tally add"] == [row["command"] for row in unfinished.json["data"]]


async def test_a_batch_is_found_by_the_beginning_of_its_id(tally: Manage, url: str) -> None:
    """One that is not there is an error that says where to look."""
    await tally("tally add --max-rows 100 --confirm")
    batch = str(query(url, "SELECT id FROM oneoff_batches")[0][0])

    shown = await tally(f"batch show {batch[:20]} --json")
    unknown = await tally("batch show nothing")

    assert (batch, "100") == (shown.json["data"]["batch"], shown.json["data"]["last_key"])
    assert {"name": "", "slow": 0.0} == shown.json["data"]["arguments"]
    assert 1 == unknown.exit_code
    assert "error[unknown-batch]: there is no batch 'nothing'\n" in unknown.stderr


async def test_about_how_many_rows_there_are_is_shown(tally: Manage, url: str) -> None:
    """As PostgreSQL's planner guesses, or as SQLite counts; a resumed batch keeps those done."""
    execute(url, "ANALYZE")
    await tally("tally add --max-rows 100 --confirm")
    await tally("tally add --max-rows 100 --confirm")
    shown = await tally(f"batch show {query(url, 'SELECT id FROM oneoff_batches')[0][0]} --json")

    assert abs(ROWS - shown.json["data"]["rows_expected"]) < 10


async def test_a_probe_holds_the_next_batch_and_is_named(tally: Manage, url: str) -> None:
    """In the run's own words and for another terminal."""
    brake(url, on=True)
    async with at_work(tally, url) as (batch, running):
        await until(url, "SELECT note <> '' FROM oneoff_batches")
        shown = await tally(f"batch show {batch} --json")
        before = times_done(url)
        brake(url, on=False)
        done = await running

    assert {0: ROWS} == before
    assert "throttled: first_row 500 > 100" == shown.json["data"]["note"]
    assert "throttled: first_row 500 > 100\n" in done.stderr
    assert (0, {1: ROWS}) == (done.exit_code, times_done(url))


async def test_parts_of_a_run_have_checkpoints_of_their_own(tally: Manage, url: str) -> None:
    """The record holds the rows of all of them."""
    done = await tally("tally halves --confirm")
    parts = query(url, "SELECT part, rows_changed, status FROM oneoff_batches ORDER BY part")
    recorded = query(url, "SELECT rows FROM oneoff_runs WHERE command = 'tally halves'")

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr
    assert [("1/2", 400, "finished"), ("2/2", 600, "finished")] == parts
    assert [(ROWS,)] == recorded


async def test_a_whole_is_shown_with_its_shards(tally: Manage, url: str) -> None:
    """It is found by the beginning of its id, a shard by its own."""
    await tally("tally add --shards 4 --max-rows 300 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    listed = (await tally("batch list --json")).json["data"]
    whole = (await tally(f"batch show {batch[:-4]} --json")).json["data"]
    shard = (await tally(f"batch show {batch}.2/4 --json")).json["data"]

    assert [(batch, "stopped", "1/4", 300)] == [
        (row["batch"], row["state"], row["shards"], row["rows_done"]) for row in listed
    ]
    assert ["finished", "stopped", "waiting", "waiting"] == [
        each["state"] for each in whole["ranges"]
    ]
    assert [(None, "250"), ("250", "500")] == [
        (each["low"], each["high"]) for each in whole["ranges"][:2]
    ]
    assert ("stopped", 50, "300") == (shard["state"], shard["rows_done"], shard["last_key"])


async def test_a_whole_is_paused_and_resumed_with_all_its_shards(tally: Manage, url: str) -> None:
    """The one that is taken up later waits too."""
    brake(url, on=True)
    running = asyncio.create_task(tally("tally careful --shards 6 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND fence > 0")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    paused = await tally(f"batch pause {batch}")
    at_work = "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND parent <> ''"
    await until(url, at_work.replace("count(*)", "count(*) = 0"))
    brake(url, on=False)
    shown = await tally(f"batch show {batch} --json")
    before = times_done(url)
    resumed = await tally(f"batch resume {batch}")
    done = await running

    assert (0, 0, 0) == (paused.exit_code, resumed.exit_code, done.exit_code), done.stderr
    assert ("paused", {0: ROWS}) == (shown.json["data"]["state"], before)
    assert f"paused: python manage.py batch resume {batch} lets it go on\n" in done.stderr
    assert {1: ROWS} == times_done(url)


async def test_a_whole_that_is_cancelled_ends_with_all_its_shards(tally: Manage, url: str) -> None:
    """Those at work, those that wait, and the run; the next one begins anew."""
    brake(url, on=True)
    running = asyncio.create_task(tally("tally careful --shards 6 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND fence > 0")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch} --confirm")
    done = await running
    again = await tally(f"batch cancel {batch} --confirm")
    brake(url, on=False)
    anew = await tally("tally careful --shards 2 --confirm")

    assert (0, 1) == (cancelled.exit_code, done.exit_code), done.stderr
    assert "error[batch-cancelled]" in done.stderr
    assert f"{batch}: it is cancelled\n" == again.stdout
    assert [("cancelled", 7), ("finished", 3)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status ORDER BY status"
    )
    assert (0, ROWS) == (anew.exit_code, anew.rows)


async def test_a_shard_that_is_given_up_leaves_the_others(tally: Manage, url: str) -> None:
    """The run does them, and says with 1 that one is missing."""
    await tally("tally add --shards 4 --max-rows 100 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch}.3/4 --confirm")
    done = await tally("tally add --shards 4 --confirm")

    assert (0, 1) == (cancelled.exit_code, done.exit_code)
    assert f"an operator has given the batch {batch} up, or shards of it\n" in done.stderr
    assert {0: 250, 1: 750} == times_done(url)


async def test_a_whole_that_stopped_is_given_up_at_once(tally: Manage, url: str) -> None:
    """With all its shards."""
    await tally("tally add --shards 4 --max-rows 300 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch} --confirm")

    assert f"{batch} is given up; what it did stays\n" == cancelled.stdout
    assert [("cancelled", 4), ("finished", 1)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status ORDER BY status"
    )
