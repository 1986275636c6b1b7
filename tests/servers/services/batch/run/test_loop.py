"""A batch: run, dry run, resume, bounds, and refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from stat import filemode
from typing import Any

import asyncpg
import pytest

from oneoff.core.outcome import Outcome
from oneoff.runtime.audit.record import RunRecord
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.tally_project import ROWS, execute, rows_of_runs, times_done, until


async def test_every_row_is_done_once(tally: Manage, url: str) -> None:
    """The run's record has the number of rows."""
    done = await tally("tally add --confirm")

    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert "changed 1,000 rows\n" == done.stdout
    assert ({1: ROWS}, [ROWS]) == (times_done(url), rows_of_runs(url))


async def test_a_record_that_is_closed_twice_counts_the_rows_once(
    tally: Manage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first time may be lost."""
    close = RunRecord.close_row

    async def close_twice(
        self: RunRecord, outcome: Outcome, data: Mapping[str, Any], note: str = ""
    ) -> int:
        await close(self, outcome, data, note)
        return await close(self, outcome, data, note)

    monkeypatch.setattr(RunRecord, "close_row", close_twice)

    stopped = await tally("tally add --max-rows 300 --confirm")
    done = await tally("tally add --confirm")

    assert ((75, 300), (0, 700)) == ((stopped.exit_code, stopped.rows), (done.exit_code, done.rows))
    assert [300, 700] == rows_of_runs(url)


@pytest.mark.parametrize("command", ["tally add", "tally raise-all", "tally purge 55"])
async def test_a_dry_run_predicts_the_rows_and_changes_nothing(
    tally: Manage, url: str, command: str
) -> None:
    """Not even a checkpoint is written."""
    preview = await tally(f"{command} --dry-run --json")
    before = times_done(url), query(url, "SELECT count(*) FROM oneoff_batches")
    real = await tally(f"{command} --confirm --json")

    assert ({0: ROWS}, [(0,)]) == before
    assert (0, 0) == (preview.exit_code, real.exit_code)
    assert preview.rows == real.rows
    assert preview.json["tables"] == real.json["tables"]


async def test_a_dry_run_shows_the_processed_and_the_counted_rows(tally: Manage) -> None:
    """It processes one sample of the size of the first batch."""
    preview = await tally("tally add --dry-run")

    assert (
        "DRY RUN: nothing was changed\n"
        "would process 1,000 rows: 100 processed, of which 100 changed, and "
        "rolled back; 900 only counted\n"
    ) == preview.stdout


async def test_a_bound_stops_the_run_and_the_next_run_resumes(tally: Manage, url: str) -> None:
    """Exit code 75 after exactly 250 rows; a dry run counts the remaining rows."""
    first = await tally("tally add --max-rows 250 --confirm")
    so_far = times_done(url)
    preview = await tally("tally add --dry-run")
    second = await tally("tally add --confirm")

    assert (75, {0: 750, 1: 250}) == (first.exit_code, so_far)
    assert "error[batch-bound]: stopped after 250 rows: --max-rows 250\n" in first.stderr
    assert "saved: 250 rows changed by this run, up to 250;" in first.stderr
    assert 750 == preview.rows
    assert (0, 750, {1: ROWS}) == (second.exit_code, second.rows, times_done(url))
    assert "after 250: 250 rows done\n" in second.stderr
    assert "changed 750 rows, 1,000 including earlier runs\n" == second.stdout
    assert [250, 750] == rows_of_runs(url)


@pytest.mark.parametrize("options", ["", "--shards 2"])
async def test_a_run_that_stopped_reports_the_rows_that_it_saved(
    tally: Manage, url: str, options: str
) -> None:
    """The same number in the envelope, in the log and in the record."""
    stopped = await tally(
        f"tally add {options} --max-rows 250 --confirm --json", environ={"LOG_LEVEL": "info"}
    )

    (event,) = [
        json.loads(line) for line in stopped.stderr.splitlines() if '"event": "run.failed"' in line
    ]
    saved = rows_of_runs(url)
    assert (75, 250, [250], 250) == (stopped.exit_code, stopped.json["rows"], saved, event["rows"])


async def test_max_time_stops_the_run(tally: Manage, url: str) -> None:
    """It is checked between batches."""
    stopped = await tally("tally add --max-time 300ms --slow 0.1 --confirm")

    done = times_done(url).get(1, 0)  # none, if the machine was too busy for the first batch
    assert 75 == stopped.exit_code
    assert f"error[batch-bound]: stopped after {done} rows: --max-time 0.3s\n" in stopped.stderr


async def test_after_a_deadline_the_committed_rows_are_kept(tally: Manage, url: str) -> None:
    """The current batch is rolled back, and the record counts the rows of the others."""
    stopped = await tally("tally add --slow 0.2 --timeout 1s --confirm")

    done = times_done(url)[1]
    assert 75 == stopped.exit_code
    assert "error[deadline-reached]" in stopped.stderr
    assert [done] == rows_of_runs(url)
    assert f"saved: {done} rows" in stopped.stderr


async def test_other_arguments_start_another_batch(tally: Manage, url: str) -> None:
    """Bounds do not count as arguments."""
    await tally("tally add --max-rows 100 --confirm")
    other = await tally("tally add --name other --max-rows 100 --confirm")
    again = await tally("tally add --max-rows 100 --confirm")

    assert "resuming" not in other.stderr
    assert "resuming" in again.stderr
    assert {0: 800, 1: 100, 2: 100} == times_done(url)


async def test_new_run_cancels_the_unfinished_batch(tally: Manage, url: str) -> None:
    """The new batch starts with the first row again."""
    await tally("tally add --max-rows 100 --confirm")
    await tally("tally add --new-run --max-rows 200 --confirm")
    states = query(url, "SELECT status FROM oneoff_batches ORDER BY started_at")

    assert {0: 800, 1: 100, 2: 100} == times_done(url)
    assert [("cancelled",), ("stopped",)] == states


async def test_a_finished_batch_is_not_resumed(tally: Manage, url: str) -> None:
    """The same command starts a new batch with the current rows."""
    await tally("tally add --confirm")
    await tally("tally add --confirm")

    assert {2: ROWS} == times_done(url)


async def test_a_batch_that_a_killed_run_finished_is_not_started_again(
    tally: Manage, url: str
) -> None:
    """Its run died after the last commit. The next run reports that; the one after starts again."""
    await tally("tally add --confirm")
    execute(url, "UPDATE oneoff_runs SET status = 'abandoned' WHERE command = 'tally add'")

    preview = await tally("tally add --dry-run")
    told = await tally("tally add --confirm")
    after = times_done(url)
    again = await tally("tally add --confirm")

    assert (0, 0) == (preview.rows, told.rows)
    assert (0, "nothing to do\n") == (told.exit_code, told.stdout)
    assert " is finished: its run was killed before it reported the end\n" in told.stderr
    assert ({1: ROWS}, ROWS) == (after, again.rows)


async def test_a_finished_batch_is_not_started_again_while_its_run_is_active(
    tally: Manage, url: str
) -> None:
    """The run has other parts to do, or its process died and no other run has found that yet."""
    await tally("tally add --confirm")
    execute(url, "UPDATE oneoff_runs SET status = 'started', finished_at = NULL, host = 'far'")

    refused = await tally("tally add --confirm")

    assert 75 == refused.exit_code
    assert "error[batch-running]" in refused.stderr
    assert {1: ROWS} == times_done(url)


async def test_a_range_includes_all_rows_with_its_last_value(tally: Manage, url: str) -> None:
    """Batches of seven rows, while ten rows have the same age."""
    done = await tally("tally purge 55 --confirm")
    left = query(url, "SELECT count(*), min(age) FROM tally")

    assert (549, [(451, 55)]) == (done.rows, left)


async def test_a_batch_without_rows_reports_nothing_to_do(tally: Manage) -> None:
    """Exit code 0."""
    done = await tally("tally purge 0 --confirm")

    assert (0, "nothing to do\n") == (done.exit_code, done.stdout)


async def test_an_error_rolls_back_only_the_batch_that_raised_it(tally: Manage, url: str) -> None:
    """Here it is the first batch."""
    failed = await tally("tally check --confirm")

    assert (65, {0: ROWS}) == (failed.exit_code, times_done(url))
    assert "error[bad-data]: row 7 has no address\n" in failed.stderr


async def test_bad_rows_are_skipped_and_written_to_the_file(
    tally: Manage, url: str, tmp_path: Path
) -> None:
    """One row fails with an error of the command, one at a constraint; the file has their keys."""
    file = tmp_path / "rejects.jsonl"
    done = await tally(f"tally check --max-errors 2 --rejects {file} --confirm")
    rejected = [json.loads(line) for line in file.read_text().splitlines()]

    assert (0, ROWS - 2) == (done.exit_code, done.rows), done.stderr
    assert {0: 2, 1: ROWS - 2} == times_done(url)
    assert [(7, "bad-data"), (13, "constraint-violation")] == [
        (line["key"], line["code"]) for line in rejected
    ]
    assert [("tally.twenty", '{"id": 20}')] == query(url, "SELECT kind, payload FROM oneoff_outbox")


async def test_rejects_of_another_batch_are_kept(tally: Manage, url: str, tmp_path: Path) -> None:
    """A new batch refuses an existing file; a resumed batch appends to its own file."""
    file = tmp_path / "rejects.jsonl"
    line = f"tally check --max-errors 9 --rejects {file} --confirm"
    first = await tally(f"{line} --max-rows 700")
    mode = filemode(file.stat().st_mode)
    anew = await tally(f"{line} --new-run")
    done = await tally(line)
    written = file.read_text(encoding="utf-8")

    assert (75, 1, 0) == (first.exit_code, anew.exit_code, done.exit_code), done.stderr
    assert f"error[file-exists]: {file} already exists" in anew.stderr
    assert 2 == len(written.splitlines())
    assert "-rw-------" == mode


async def test_too_many_bad_rows_stop_the_run(tally: Manage, url: str, tmp_path: Path) -> None:
    """Exit code 65; the batch of the last bad row is rolled back."""
    file = tmp_path / "rejects.jsonl"
    failed = await tally(f"tally check --max-errors 1 --rejects {file} --confirm")

    assert (65, {0: 991, 1: 9}) == (failed.exit_code, times_done(url))
    assert "error[too-many-errors]: 2 rows failed, and --max-errors allows 1\n" in failed.stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tally add --max-errors 1", "--max-errors and --rejects go together"),
        ("tally add --max-rows=-1", "--max-rows -1 is less than 1"),
    ],
)
async def test_invalid_bounds_are_refused(tally: Manage, line: str, problem: str) -> None:
    """Exit code 2."""
    refused = await tally(f"{line} --confirm")

    assert 2 == refused.exit_code
    assert problem in refused.stderr


async def test_a_conflict_is_tried_again_with_fewer_rows(tally: Manage, url: str) -> None:
    """Another session locks a row for longer than the server's lock_timeout."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite itself waits for the other writer")
    name = url.rpartition("/")[2]
    execute(url, f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    blocker = await asyncpg.connect(url)
    async with blocker.transaction():
        await blocker.execute("UPDATE tally SET age = age WHERE id = 50")
        running = asyncio.create_task(tally("tally add --confirm"))
        await batch_is_rolled_back(blocker, name)
    await blocker.close()
    done = await running

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr


async def test_a_column_may_change_its_type_between_two_batches(tally: Manage, url: str) -> None:
    """The run prepares its statements on the server again."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite itself prepares statements again")
    running = asyncio.create_task(tally("tally add --slow 0.05 --confirm"))
    await until(url, "SELECT count(*) > 200 FROM tally WHERE n > 0")
    await asyncio.to_thread(execute, url, "ALTER TABLE tally ALTER n TYPE bigint")
    done = await running

    assert (0, {1: ROWS}) == (done.exit_code, times_done(url)), done.stderr


async def batch_is_rolled_back(connection: Any, database: str) -> None:
    """Wait until a batch is rolled back."""
    sql = "SELECT xact_rollback FROM pg_stat_database WHERE datname = $1"
    before = await connection.fetchval(sql, database)
    async with asyncio.timeout(60):
        while before == await connection.fetchval(sql, database):
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.02)
