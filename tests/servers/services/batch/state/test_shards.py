"""A batch in shards: divided once, processed in parallel or one by one, each row once."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.tally_project import (
    NAME,
    ROOT,
    ROWS,
    execute,
    rows_of_runs,
    times_done,
    until,
)

ON_POSTGRESQL = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
"""For tests whose result does not depend on the database."""
BOUNDS = "SELECT part, low, high FROM oneoff_batches WHERE parent <> '' ORDER BY part"
STATES = "SELECT part, status FROM oneoff_batches ORDER BY parent, part"


async def test_every_row_is_done_once(tally: Manage, url: str) -> None:
    """The run's record and its result have the number of rows."""
    done = await tally("tally add --shards 4 --confirm")

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert "changed 1,000 rows in 4 shards\n" == done.stdout
    assert ({1: ROWS}, [ROWS]) == (times_done(url), rows_of_runs(url))
    assert [("1/4", None, "250"), ("2/4", "250", "500"), ("3/4", "500", "750")] == query(
        url, BOUNDS
    )[:3]
    finished = [(part, "finished") for part in ("", "1/4", "2/4", "3/4", "4/4")]
    assert finished == query(url, STATES)


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_shards_without_rows_are_finished_too(tally: Manage, url: str, rows: int) -> None:
    """They exist if there are fewer rows than shards."""
    execute(url, f"DELETE FROM tally WHERE id > {rows}")

    done = await tally("tally add --shards 8 --confirm")

    assert (0, rows) == (done.exit_code, done.rows), done.stderr
    assert ({1: rows} if rows else {}) == times_done(url)
    assert [("finished", 9)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status"
    )


async def test_rows_with_equal_keys_are_in_one_shard(tally: Manage, url: str) -> None:
    """Half of all rows have the same age; ten of the others share each age."""
    execute(url, "UPDATE tally SET age = 7 WHERE id > 500")

    done = await tally("tally purge 55 --shards 5 --confirm")

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert [(0,)] == query(url, "SELECT count(*) FROM tally")


async def test_rows_beyond_the_last_key_belong_to_the_last_shard(tally: Manage, url: str) -> None:
    """They were inserted after the ranges were made."""
    await tally("tally add --shards 3 --max-rows 100 --confirm")
    execute(url, "INSERT INTO tally VALUES (5000, 0, 1)")

    done = await tally("tally add --shards 3 --confirm")

    assert (0, ROWS - 99) == (done.exit_code, done.rows), done.stderr
    assert {1: ROWS + 1} == times_done(url)


async def test_a_bound_applies_to_all_shards_together_and_the_next_run_keeps_the_ranges(
    tally: Manage, url: str
) -> None:
    """The run stops after exactly 400 rows; the next one processes only unfinished shards."""
    first = await tally("tally add --shards 4 --max-rows 400 --confirm")
    before, states = query(url, BOUNDS), query(url, STATES)
    execute(url, "INSERT INTO tally SELECT id + 2000, 0, 1 FROM tally WHERE id <= 500")
    preview = await tally("tally add --shards 4 --dry-run --json")
    second = await tally("tally add --shards 4 --confirm")

    assert 75 == first.exit_code
    assert "stopped after 400 rows: --max-rows 400\n" in first.stderr
    assert "saved: 400 rows changed by this run; the same command continues" in first.stderr
    assert [
        ("", "stopped"),
        ("1/4", "finished"),
        ("2/4", "stopped"),
        ("3/4", "waiting"),
        ("4/4", "waiting"),
    ] == states
    assert (1_100, before) == (preview.rows, query(url, BOUNDS))
    assert ["2/4", "3/4", "4/4"] == [each["part"] for each in preview.json["data"]["ranges"]]
    assert (0, 1_100, {1: 1_500}) == (second.exit_code, second.rows, times_done(url))
    assert ": 1 of 4 shards finished, 400 rows done\n" in second.stderr
    assert "changed 1,100 rows in 4 shards, 1,500 including earlier runs\n" == second.stdout


@ON_POSTGRESQL
async def test_after_a_deadline_the_committed_rows_of_all_shards_are_kept(
    tally: Manage, url: str
) -> None:
    """The current batches are rolled back, and the record counts the rows of the others."""
    stopped = await tally("tally add --shards 4 --slow 0.3 --timeout 500ms --confirm")
    done = times_done(url).get(1, 0)
    again = await tally("tally add --shards 4 --slow 0.3 --confirm")

    assert (75, 0) == (stopped.exit_code, again.exit_code)
    *before, last = [rows or 0 for rows in rows_of_runs(url)]
    assert (done, ROWS - done) == (sum(before), last)
    assert {1: ROWS} == times_done(url)


async def test_the_error_of_one_shard_is_the_error_of_the_run(tally: Manage, url: str) -> None:
    """The other shards stop, and their committed rows are kept."""
    failed = await tally("tally check --shards 4 --confirm")

    assert 65 == failed.exit_code
    assert "error[bad-data]: row 7 has no address\n" in failed.stderr
    assert [times_done(url).get(1, 0)] == rows_of_runs(url, "tally check")
    assert [("stopped", 65)] == query(
        url, "SELECT status, exit_code FROM oneoff_batches WHERE part = '1/4'"
    )


@ON_POSTGRESQL
async def test_a_batch_with_another_number_of_shards_is_not_resumed(
    tally: Manage, url: str
) -> None:
    """The message shows how to resume it; `--new-run` starts a new batch."""
    await tally("tally add --shards 3 --max-rows 100 --confirm")
    for words in ("", "--shards 4", "--shard 1/4"):
        refused = await tally(f"tally add {words} --confirm")
        previewed = await tally(f"tally add {words} --dry-run")
        assert (2, 2) == (refused.exit_code, previewed.exit_code)
        assert "was started with --shards 3, and can only be resumed that way\n" in refused.stderr
    anew = await tally("tally add --shards 4 --new-run --confirm")

    assert (0, ROWS) == (anew.exit_code, anew.rows)
    assert [("cancelled", 4), ("finished", 5)] == query(
        url, "SELECT status, count(*) FROM oneoff_batches GROUP BY status ORDER BY status"
    )


@ON_POSTGRESQL
async def test_a_dry_run_shows_the_ranges_and_writes_nothing(tally: Manage, url: str) -> None:
    """It predicts the number of rows of the real run."""
    preview = await tally("tally add --shards 2 --dry-run --json")

    assert (0, ROWS) == (preview.exit_code, preview.rows), preview.stderr
    assert [
        {"part": "1/2", "above": None, "up_to": 500, "rows": 500},
        {"part": "2/2", "above": 500, "up_to": None, "rows": 500},
    ] == preview.json["data"]["ranges"]
    assert ([], {0: ROWS}) == (query(url, STATES), times_done(url))


async def test_shards_that_are_run_one_by_one_share_the_ranges(tally: Manage, url: str) -> None:
    """The first run divides the batch; the run that ends the last shard closes the parent."""
    last = await tally("tally add --shard 3/3 --confirm")
    between = query(url, "SELECT status FROM oneoff_batches WHERE parent = ''")
    others = [await tally(f"tally add --shard {number}/3 --confirm") for number in (1, 2)]

    assert [333, 334, 333] == [last.rows, *(done.rows for done in others)]
    assert ([("running",)], {1: ROWS}) == (between, times_done(url))
    assert [("finished",)] == query(url, "SELECT status FROM oneoff_batches WHERE parent = ''")


@ON_POSTGRESQL
async def test_a_finished_shard_is_not_processed_again(tally: Manage, url: str) -> None:
    """While the parent batch is unfinished."""
    await tally("tally add --shard 1/2 --confirm")
    again = await tally("tally add --shard 1/2 --confirm")

    assert (0, "nothing to do\n") == (again.exit_code, again.stdout)
    assert {0: 500, 1: 500} == times_done(url)


@ON_POSTGRESQL
async def test_the_shard_of_a_killed_run_is_not_started_again_after_the_batch_is_finished(
    tally: Manage, url: str
) -> None:
    """Its run died after its last commit, and a platform starts the command again."""
    for number in (1, 2):
        await tally(f"tally add --shard {number}/2 --confirm")
    run = "SELECT run_id FROM oneoff_batches WHERE part = '1/2'"
    execute(url, f"UPDATE oneoff_runs SET status = 'abandoned' WHERE id = ({run})")

    told = await tally("tally add --shard 1/2 --confirm")
    after = times_done(url)
    anew = await tally("tally add --shard 1/2 --confirm")

    assert (0, 0, {1: ROWS}) == (told.exit_code, told.rows, after)
    assert 500 == anew.rows


@ON_POSTGRESQL
async def test_a_finished_shard_is_not_started_again_while_its_run_is_active(
    tally: Manage, url: str
) -> None:
    """A platform treats its machine as dead, and starts the command again."""
    for number in (1, 2):
        await tally(f"tally add --shard {number}/2 --confirm")
    run = "SELECT run_id FROM oneoff_batches WHERE part = '1/2'"
    alive = "status = 'started', finished_at = NULL, host = 'far'"
    execute(url, f"UPDATE oneoff_runs SET {alive} WHERE id = ({run})")

    refused = await tally("tally add --shard 1/2 --confirm")

    assert (75, {1: ROWS}) == (refused.exit_code, times_done(url))


@ON_POSTGRESQL
async def test_a_shard_that_the_finished_batch_did_not_have_starts_a_new_batch(
    tally: Manage, url: str
) -> None:
    """The finished batch had two shards, the new one has four."""
    await tally("tally add --shards 2 --confirm")

    done = await tally("tally add --shard 3/4 --confirm")

    assert (0, ROWS // 4) == (done.exit_code, done.rows), done.stderr
    assert {1: ROWS - ROWS // 4, 2: ROWS // 4} == times_done(url)


@ON_POSTGRESQL
async def test_a_batch_that_was_named_with_once_is_done_once(tally: Manage, url: str) -> None:
    """However often it is started: shard by shard, with all shards, or without shards."""
    named = "tally add --once job-17 --confirm"
    for words in ("--shard 1/2", "--shard 2/2", "--shard 1/2", "--shard 2/2", "--shards 2"):
        assert 0 == (await tally(f"{named} {words}")).exit_code
    other = await tally("tally add --once job-18 --confirm")
    again = await tally("tally add --once job-18 --confirm")

    assert (ROWS, 0, {2: ROWS}) == (other.rows, again.rows, times_done(url))


async def test_all_shards_can_be_started_at_the_same_time(tally: Manage, url: str) -> None:
    """One of the runs divides the batch."""
    done = await asyncio.gather(
        *(tally(f"tally add --shard {number}/4 --confirm") for number in range(1, 5))
    )

    assert [0, 0, 0, 0] == [each.exit_code for each in done], [each.stderr for each in done]
    assert {1: ROWS} == times_done(url)
    assert [("", "finished"), ("1/4", "finished")] == query(url, STATES)[:2]


async def test_the_second_of_two_runs_is_refused(tally: Manage, url: str) -> None:
    """For the same shard, and for all shards. The first run waits while the first row is old."""
    execute(url, "UPDATE tally SET age = 500 WHERE id = 1")
    shard = asyncio.create_task(tally("tally careful --shard 2/2 --confirm"))
    await until(url, "SELECT count(*) FROM oneoff_batches WHERE part = '2/2' AND fence = 1")
    refused = [
        await tally(f"tally careful {words} --confirm") for words in ("--shard 2/2", "--shards 2")
    ]
    execute(url, "UPDATE tally SET age = 0 WHERE id = 1")
    await shard

    assert [75, 75] == [each.exit_code for each in refused]
    assert all("error[batch-running]" in each.stderr for each in refused)
    assert {0: 500, 1: 500} == times_done(url)


@ON_POSTGRESQL
async def test_the_index_of_a_kubernetes_job_selects_the_shard(
    url: str, manage_environ: dict[str, str]
) -> None:
    """The index starts at 0."""
    pod = Manage(NAME, str(ROOT), {**manage_environ, "JOB_COMPLETION_INDEX": "1"})

    done = await pod("tally add --shard auto/4 --confirm")
    beyond = await pod("tally add --shard auto/1 --confirm")

    assert (0, 250) == (done.exit_code, done.rows)
    assert [("251", "500")] == [
        tuple(map(str, row)) for row in query(url, "SELECT min(id), max(id) FROM tally WHERE n = 1")
    ]
    assert 2 == beyond.exit_code
