"""`data cleanup` on the framework's own tables: which rows are deleted, and which are kept."""

from __future__ import annotations

from pathlib import Path

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.tally_project import ROWS, batch_of, execute, times_done

LONG_AGO = "2020-01-31 12:00:00.000000"
CLEANUP = "data cleanup --confirm"
IDS = "SELECT id FROM oneoff_batches WHERE command NOT LIKE 'data cleanup%'"


def ids(url: str) -> set[str]:
    """Return the ids of all batches, except those of cleanups."""
    return {str(row[0]) for row in query(url, IDS)}


def make_old(url: str) -> None:
    """Set an old end time for all batches that have ended."""
    execute(
        url, f"UPDATE oneoff_batches SET finished_at = '{LONG_AGO}' WHERE finished_at IS NOT NULL"
    )


async def test_a_batch_is_deleted_first_and_its_shards_by_the_next_cleanup(
    tally: Manage, url: str
) -> None:
    """Batches that ended recently are kept."""
    single = batch_of(await tally("tally add --confirm"))
    parent = batch_of(await tally("tally add --name a --shards 2 --confirm"))
    make_old(url)
    recent = batch_of(await tally("tally add --name b --confirm"))
    before = ids(url)

    preview = await tally("data cleanup --dry-run")
    first = await tally(CLEANUP)
    between = ids(url)
    second = await tally(CLEANUP)

    assert (0, 2, 2, 2) == (first.exit_code, preview.rows, first.rows, second.rows), first.stderr
    assert ({single, parent}, {recent}) == (before - between, ids(url))


async def test_unfinished_batches_are_kept_with_their_finished_shards(
    tally: Manage, url: str
) -> None:
    """The next run resumes them."""
    await tally("tally add --name a --max-rows 100 --confirm")
    await tally("tally add --name b --shard 1/2 --confirm")
    make_old(url)
    before = ids(url)

    cleaned = await tally(CLEANUP)
    rest = await tally("tally add --name b --shard 2/2 --confirm")

    assert (0, 0, 4) == (cleaned.exit_code, cleaned.rows, len(before))
    assert (before, ROWS // 2) == (ids(url), rest.rows)


async def test_batches_with_once_and_imported_files_are_kept(
    tally: Manage, url: str, tmp_path: Path
) -> None:
    """However old they are, they are not started again."""
    file = tmp_path / "tally.csv"
    file.write_text(f"id,n,age\n{ROWS + 1},0,1\n")
    lines = (
        "tally add --once spring --confirm",
        "tally add --once summer --shards 2 --confirm",
        f"data import tally {file} --resume --on-conflict skip --confirm",
    )
    done = [(await tally(line)).rows for line in lines]
    make_old(url)
    before = ids(url)

    cleaned = await tally(CLEANUP)
    again = [(await tally(line)).rows for line in lines]

    assert ([ROWS, ROWS, 1], 0, [0, 0, 0]) == (done, cleaned.rows, again), cleaned.stderr
    assert (before, {2: ROWS, 0: 1}) == (ids(url), times_done(url))


async def test_the_batch_of_a_transform_is_kept(tally: Manage, url: str) -> None:
    """`data transforms` reads from it that the transform is done."""
    await tally("tally add --confirm")
    execute(url, "UPDATE oneoff_batches SET command = 'data transform fill-locale'")
    make_old(url)

    cleaned = await tally(CLEANUP)

    assert (0, 0) == (cleaned.exit_code, cleaned.rows)


async def test_a_finished_batch_that_was_not_reported_is_kept(tally: Manage, url: str) -> None:
    """Its run was killed after its last commit. The next run must not process every row again."""
    for name, shards in (("a", ""), ("b", "--shards 2")):
        await tally(f"tally add --name {name} {shards} --confirm")
    execute(url, "UPDATE oneoff_runs SET status = 'abandoned' WHERE command = 'tally add'")
    make_old(url)

    cleaned = await tally(CLEANUP)
    again = await tally("tally add --name a --confirm")

    assert (0, 0) == (cleaned.rows, again.rows)
    assert {2: ROWS} == times_done(url)


async def test_an_unreported_batch_is_deleted_if_a_newer_one_exists(
    tally: Manage, url: str
) -> None:
    """If only the newer one were deleted, the next run would report that all rows are done."""
    await tally("tally add --confirm")
    execute(url, "UPDATE oneoff_runs SET status = 'abandoned' WHERE command = 'tally add'")
    await tally("tally add --new-run --confirm")
    make_old(url)

    cleaned = await tally(CLEANUP)
    again = await tally("tally add --confirm")

    assert (2, ROWS) == (cleaned.rows, again.rows), again.stderr


async def test_effects_that_were_delivered_long_ago_are_deleted(tally: Manage, url: str) -> None:
    """Undelivered effects are kept, however old they are."""
    for number, delivered in ((1, f"'{LONG_AGO}'"), (2, "NULL")):
        execute(
            url,
            "INSERT INTO oneoff_outbox (id, batch_id, kind, payload, created_at, delivered_at) "
            f"VALUES ({number}, '', 'tally.count', '{{}}', '{LONG_AGO}', {delivered})",
        )

    cleaned = await tally("data cleanup --only oneoff-effects --confirm")

    assert (0, 1) == (cleaned.exit_code, cleaned.rows), cleaned.stderr
    assert [(2,)] == query(url, "SELECT id FROM oneoff_outbox")
