"""`batch list`, `show`, `pause`, `resume`, `cancel`: control a batch from another terminal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.tally_project import ROWS, execute, times_done, until

CAREFUL = "tally careful --confirm"
"""A batch that waits while the first row is old."""


@asynccontextmanager
async def running_batch(
    tally: Manage, url: str
) -> AsyncIterator[tuple[str, asyncio.Task[Finished]]]:
    """Run a batch during the block; yield the id of the batch and the task of its run."""
    task = asyncio.create_task(tally(CAREFUL))
    await until(url, "SELECT count(*) FROM oneoff_batches")
    yield str(query(url, "SELECT id FROM oneoff_batches")[0][0]), task
    await task


def hold_batch(url: str, *, on: bool) -> None:
    """Make the first row old, so that the batch waits; or young again."""
    execute(url, f"UPDATE tally SET age = {500 if on else 0} WHERE id = 1")


async def test_a_paused_batch_waits_until_it_is_resumed(tally: Manage, url: str) -> None:
    """It shows what it waits for, and changes no row meanwhile."""
    hold_batch(url, on=True)
    async with running_batch(tally, url) as (batch, running):
        paused = await tally(f"batch pause {batch}")
        await until(url, "SELECT status = 'paused' FROM oneoff_batches")
        hold_batch(url, on=False)
        shown = await tally(f"batch show {batch} --json")
        again = await tally(f"batch pause {batch}")
        beside = await tally(CAREFUL)
        before = times_done(url)
        resumed = await tally(f"batch resume {batch}")
        done = await running

    assert (0, 0, 0) == (paused.exit_code, resumed.exit_code, done.exit_code), done.stderr
    assert ("paused", {0: ROWS}) == (shown.json["data"]["state"], before)
    assert f"{batch}: it has already been asked to pause" in again.stdout
    assert "error[batch-running]: tally careful is paused with these arguments" in beside.stderr
    assert f"  try:  python manage.py batch resume {batch}\n" in beside.stderr
    assert f"paused: to continue, run: python manage.py batch resume {batch}\n" in done.stderr
    assert {1: ROWS} == times_done(url)


async def test_after_a_cancelled_batch_the_next_run_starts_a_new_one(
    tally: Manage, url: str
) -> None:
    """The run of the cancelled batch ends with exit code 1."""
    hold_batch(url, on=True)
    async with running_batch(tally, url) as (batch, running):
        cancelled = await tally(f"batch cancel {batch} --confirm")
        ended = await running
    hold_batch(url, on=False)
    again = await tally(CAREFUL)

    assert (0, 1) == (cancelled.exit_code, ended.exit_code)
    assert f"error[batch-cancelled]: an operator has cancelled the batch {batch}\n" in ended.stderr
    assert "saved:" not in ended.stderr
    assert (0, ROWS) == (again.exit_code, again.rows)
    assert "resuming" not in again.stderr


async def test_a_stopped_batch_is_cancelled_immediately(tally: Manage, url: str) -> None:
    """No run works on it, so it can be neither paused nor resumed from here."""
    await tally("tally add --max-rows 100 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches")[0][0]

    paused = await tally(f"batch pause {batch}")
    resumed = await tally(f"batch resume {batch}")
    cancelled = await tally(f"batch cancel {batch} --confirm")
    again = await tally(f"batch cancel {batch} --confirm")
    too_late = await tally(f"batch resume {batch}")

    assert f"{batch}: it is not running" in paused.stdout
    line = "python manage.py tally add --max-rows 100 --confirm"
    assert (1, 1) == (resumed.exit_code, too_late.exit_code)
    assert (
        f"error[batch-not-running]: {batch} can't be resumed here: no run works on it\n"
        in resumed.stderr
    )
    assert f"  try:  {line}\n" in resumed.stderr
    assert f"{batch} is cancelled; committed rows are kept" in cancelled.stdout
    assert f"{batch}: it is cancelled" in again.stdout
    assert "  try:  start a new batch with `tally add`\n" in too_late.stderr
    assert [("cancelled",)] == query(url, "SELECT status FROM oneoff_batches")


async def test_a_batch_shows_its_operator_and_the_next_step(tally: Manage, url: str) -> None:
    """Pause it while it runs, run its command if it has stopped, nothing if it has ended."""
    hold_batch(url, on=True)
    async with running_batch(tally, url) as (batch, _):
        running = (await tally(f"batch show {batch} --json")).json["data"]
        hold_batch(url, on=False)
    await tally(["tally", "add", "--name", "a b", "--new-run", "--max-rows", "100", "--confirm"])
    stopped = query(url, "SELECT id FROM oneoff_batches WHERE status = 'stopped'")[0][0]

    left = (await tally(f"batch show {stopped} --json")).json["data"]
    ended = (await tally(f"batch show {batch} --json")).json["data"]

    assert f"python manage.py batch pause {batch}" == running["next"]
    line = "python manage.py tally add --name 'a b' --max-rows 100 --confirm"
    assert (line, "") == (left["next"], ended["next"])
    assert f"tester on {socket.gethostname()}" == running["by"]


async def test_an_empty_list_of_batches_is_a_message(tally: Manage) -> None:
    """Without any output it would look like a failure."""
    listed = await tally("batch list")
    unfinished = await tally("batch list --unfinished")

    assert "no batch has been started yet\n" == listed.stdout
    assert "no batch is unfinished\n" == unfinished.stdout


async def test_batches_are_listed_with_their_states(tally: Manage, url: str) -> None:
    """The newest first; `--unfinished` shows only unfinished ones."""
    await tally("tally purge 10 --confirm")
    await tally("tally add --max-rows 100 --confirm")

    every = await tally("batch list --json")
    unfinished = await tally("batch list --unfinished --json")

    assert [("tally add", "stopped", 100), ("tally purge", "finished", 99)] == [
        (row["command"], row["state"], row["rows_changed"]) for row in every.json["data"]
    ]
    assert ["tally add"] == [row["command"] for row in unfinished.json["data"]]


async def test_a_batch_is_found_by_the_first_characters_of_its_id(tally: Manage, url: str) -> None:
    """An unknown batch is an error."""
    await tally("tally add --max-rows 100 --confirm")
    batch = str(query(url, "SELECT id FROM oneoff_batches")[0][0])

    shown = await tally(f"batch show {batch[:20]} --json")
    unknown = await tally("batch show nothing")

    assert (batch, "100") == (shown.json["data"]["batch"], shown.json["data"]["last_key"])
    assert {"name": "", "slow": 0.0} == shown.json["data"]["arguments"]
    assert 1 == unknown.exit_code
    assert "error[unknown-batch]: there is no batch 'nothing'\n" in unknown.stderr


async def test_the_expected_number_of_rows_is_shown(tally: Manage, url: str) -> None:
    """From PostgreSQL's planner, or counted on SQLite; a resumed batch includes finished rows."""
    execute(url, "ANALYZE")
    await tally("tally add --max-rows 100 --confirm")
    await tally("tally add --max-rows 100 --confirm")
    shown = await tally(f"batch show {query(url, 'SELECT id FROM oneoff_batches')[0][0]} --json")

    assert abs(ROWS - shown.json["data"]["rows_expected"]) < 10


async def test_a_probe_delays_the_next_batch_and_shows_the_reason(tally: Manage, url: str) -> None:
    """In the terminal of the run and in `batch show`."""
    hold_batch(url, on=True)
    async with running_batch(tally, url) as (batch, running):
        await until(url, "SELECT note <> '' FROM oneoff_batches")
        shown = await tally(f"batch show {batch} --json")
        before = times_done(url)
        hold_batch(url, on=False)
        done = await running

    assert {0: ROWS} == before
    assert "throttled: first_row 500 > 100" == shown.json["data"]["note"]
    assert "throttled: first_row 500 > 100\n" in done.stderr
    assert (0, {1: ROWS}) == (done.exit_code, times_done(url))


async def test_each_part_of_a_run_has_its_own_checkpoint(tally: Manage, url: str) -> None:
    """The record of the run has the rows of all parts."""
    done = await tally("tally halves --confirm")
    parts = query(url, "SELECT part, rows_changed, status FROM oneoff_batches ORDER BY part")
    recorded = query(url, "SELECT rows FROM oneoff_runs WHERE command = 'tally halves'")

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr
    assert [("1/2", 400, "finished"), ("2/2", 600, "finished")] == parts
    assert [(ROWS,)] == recorded


async def test_a_parent_batch_is_shown_with_its_shards(tally: Manage, url: str) -> None:
    """It is found by the first characters of its id, a shard by its own id."""
    await tally("tally add --shards 4 --max-rows 300 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    listed = (await tally("batch list --json")).json["data"]
    parent = (await tally(f"batch show {batch[:-4]} --json")).json["data"]
    shard = (await tally(f"batch show {batch}.2/4 --json")).json["data"]

    assert [(batch, "stopped", "1/4", 300)] == [
        (row["batch"], row["state"], row["shards"], row["rows_done"]) for row in listed
    ]
    assert ["finished", "stopped", "waiting", "waiting"] == [
        each["state"] for each in parent["ranges"]
    ]
    assert [(None, "250"), ("250", "500")] == [
        (each["low"], each["high"]) for each in parent["ranges"][:2]
    ]
    assert ("stopped", 50, "300") == (shard["state"], shard["rows_done"], shard["last_key"])


async def test_a_parent_batch_is_paused_and_resumed_with_its_shards(
    tally: Manage, url: str
) -> None:
    """A shard that is claimed after the request waits too."""
    hold_batch(url, on=True)
    running = asyncio.create_task(tally("tally careful --shards 6 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND fence > 0")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    paused = await tally(f"batch pause {batch}")
    active = "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND parent <> ''"
    await until(url, active.replace("count(*)", "count(*) = 0"))
    hold_batch(url, on=False)
    shown = await tally(f"batch show {batch} --json")
    before = times_done(url)
    resumed = await tally(f"batch resume {batch}")
    done = await running

    assert (0, 0, 0) == (paused.exit_code, resumed.exit_code, done.exit_code), done.stderr
    assert ("paused", {0: ROWS}) == (shown.json["data"]["state"], before)
    assert f"paused: to continue, run: python manage.py batch resume {batch}\n" in done.stderr
    assert {1: ROWS} == times_done(url)


async def test_a_parent_batch_is_cancelled_with_all_its_shards(tally: Manage, url: str) -> None:
    """The active ones, the waiting ones, and the run; the next run starts a new batch."""
    hold_batch(url, on=True)
    running = asyncio.create_task(tally("tally careful --shards 6 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE status = 'running' AND fence > 0")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch} --confirm")
    done = await running
    again = await tally(f"batch cancel {batch} --confirm")
    hold_batch(url, on=False)
    anew = await tally("tally careful --shards 2 --confirm")

    assert (0, 1) == (cancelled.exit_code, done.exit_code), done.stderr
    assert "error[batch-cancelled]" in done.stderr
    assert f"{batch}: it is cancelled\n" == again.stdout
    assert [("cancelled", 7), ("finished", 3)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status ORDER BY status"
    )
    assert (0, ROWS) == (anew.exit_code, anew.rows)


async def test_the_other_shards_of_a_cancelled_one_are_processed(tally: Manage, url: str) -> None:
    """The run ends with exit code 1, because one shard is missing."""
    await tally("tally add --shards 4 --max-rows 100 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch}.3/4 --confirm")
    done = await tally("tally add --shards 4 --confirm")

    assert (0, 1) == (cancelled.exit_code, done.exit_code)
    assert f"an operator has cancelled the batch {batch}, or shards of it\n" in done.stderr
    assert {0: 250, 1: 750} == times_done(url)


async def test_a_stopped_parent_batch_is_cancelled_immediately(tally: Manage, url: str) -> None:
    """With all its unfinished shards."""
    await tally("tally add --shards 4 --max-rows 300 --confirm")
    batch = query(url, "SELECT id FROM oneoff_batches WHERE parent = ''")[0][0]

    cancelled = await tally(f"batch cancel {batch} --confirm")

    assert f"{batch} is cancelled; committed rows are kept\n" == cancelled.stdout
    assert [("cancelled", 4), ("finished", 1)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status ORDER BY status"
    )
