"""`data cleanup`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from oneoff.services.batch.rows.selection import SetBased, StepResult
from oneoff.services.retention import cleanup
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.tally_project import execute

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

INSERT = {
    "sqlite": "INSERT INTO events (at, kind) "
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {rows}) "
    "SELECT datetime('now', '-' || (x * {step}) || ' seconds') || '.000000', '{kind}' FROM c",
    "postgres": "INSERT INTO events (at, kind) SELECT "
    "now() - make_interval(secs => x * {step}), '{kind}' FROM generate_series(1, {rows}) AS s(x)",
}
DAY = 86_400
EARLIER, NOON, LATER = (f"2020-01-31 {hour}:00:00.000000" for hour in (11, 12, 13))


@pytest.fixture
def url(manage_environ: dict[str, str]) -> str:
    """Return the URL of the test's database."""
    return manage_environ["DATABASE_URL"]


def add_events(url: str, rows: int, *, step: int = DAY, kind: str = "x") -> None:
    """Add events whose ages are one step, two steps, ...; a step is in seconds."""
    execute(url, INSERT[url.partition(":")[0]].format(rows=rows, step=step, kind=kind))


def count(url: str) -> int:
    """Return the number of remaining events."""
    return int(query(url, "SELECT count(*) FROM events")[0][0])


async def test_rows_older_than_their_rule_are_deleted(manage: Manage, url: str) -> None:
    """The others are kept; the second run finds nothing to do."""
    add_events(url, 100)

    done = await manage("data cleanup --confirm")
    again = await manage("data cleanup --confirm")

    assert (0, 11, 89) == (done.exit_code, done.rows, count(url)), done.stderr
    assert "\ndeleted 11 rows by 5 rules\n" in done.stdout
    assert (0, 0) == (again.exit_code, again.rows)
    assert "\nnothing to do: no row is older than its retention rule allows\n" in again.stdout


async def test_each_rule_has_a_line_in_the_report(manage: Manage, url: str) -> None:
    """The line contains the time up to which it deleted."""
    add_events(url, 100)
    done = await manage("data cleanup --json --confirm")

    assert [
        ("events", "events", 90, 11),
        ("sessions", "sessions", 7, 0),
        ("api-keys", "api_keys", 90, 0),
        ("oneoff-effects", "oneoff_outbox", 30, 0),
        ("oneoff-batches", "oneoff_batches", 90, 0),
    ] == [(one["rule"], one["table"], one["days"], one["rows"]) for one in done.json["data"]]
    before = datetime.fromisoformat(done.json["data"][0]["before"])
    assert timedelta(days=90) < datetime.now(UTC) - before < timedelta(days=90, minutes=1)


async def test_a_dry_run_counts_the_rows_that_the_real_run_deletes(
    manage: Manage, url: str
) -> None:
    """It deletes nothing."""
    add_events(url, 100)

    preview = await manage("data cleanup --days 60 --dry-run")
    left = count(url)
    real = await manage("data cleanup --days 60 --confirm")

    assert (41, 100, 41) == (preview.rows, left, real.rows)
    assert "\nwould report: deleted 41 rows by 5 rules\n" in preview.stdout


async def test_a_bound_applies_to_all_rules_together_and_the_next_run_resumes(
    manage: Manage, url: str
) -> None:
    """Exit code 75; the second run reports only the remaining rows."""
    add_events(url, 100)

    first = await manage("data cleanup --max-rows 4 --confirm")
    left = count(url)
    second = await manage("data cleanup --confirm")

    assert (75, 96) == (first.exit_code, left)
    assert "error[batch-bound]: stopped after 4 rows: --max-rows 4\n" in first.stderr
    assert (0, 7, 89) == (second.exit_code, second.rows, count(url))
    assert "resuming " in second.stderr


async def test_a_bound_may_be_success(manage: Manage, url: str) -> None:
    """A nightly job then fails only if something is wrong; the result says that rows may remain."""
    add_events(url, 100)
    line = "data cleanup --max-rows 4 --bound-is-success --confirm"

    first, second, last = await manage(line), await manage(line), await manage(line)

    assert [(0, 4), (0, 4), (0, 3)] == [(one.exit_code, one.rows) for one in (first, second, last)]
    assert "stopped after 4 rows: --max-rows 4\n" == first.stdout
    assert "warning: there may be more rows: the next run continues" in first.stderr
    assert ("deleted 3 rows by 5 rules", 89) == (last.result.message, count(url))


async def test_a_bound_is_no_success_without_a_bound(manage: Manage) -> None:
    """The option would have no effect."""
    done = await manage("data cleanup --bound-is-success --confirm")

    assert 2 == done.exit_code
    assert "error[usage]: --bound-is-success needs --max-rows or --max-time\n" in done.stderr


async def test_a_resumed_run_computes_ages_from_the_start_of_its_batch(
    manage: Manage, url: str
) -> None:
    """So does its dry run. The next batch deletes rows that became old after that."""
    add_events(url, 100)
    await manage("data cleanup --only events --max-rows 4 --confirm")
    earlier = str(datetime.now(UTC) - timedelta(days=3))[:26]
    execute(url, f"UPDATE oneoff_batches SET started_at = '{earlier}'")

    preview = await manage("data cleanup --only events --dry-run")
    resumed = await manage("data cleanup --only events --confirm")
    afterwards = await manage("data cleanup --only events --confirm")

    assert (4, 4, 3) == (preview.rows, resumed.rows, afterwards.rows)


async def test_a_resumed_run_uses_its_own_days(manage: Manage, url: str) -> None:
    """It resumes the same batch, which starts with the oldest rows, up to another time."""
    add_events(url, 100)
    await manage("data cleanup --only events --max-rows 4 --confirm")

    resumed = await manage("data cleanup --only events --days 60 --confirm")

    assert "resuming " in resumed.stderr
    assert (0, 37, 59) == (resumed.exit_code, resumed.rows, count(url))


async def test_a_new_run_computes_ages_from_now(manage: Manage, url: str) -> None:
    """The unfinished batch is cancelled."""
    add_events(url, 100)
    await manage("data cleanup --only events --max-rows 4 --confirm")
    earlier = str(datetime.now(UTC) - timedelta(days=3))[:26]
    execute(url, f"UPDATE oneoff_batches SET started_at = '{earlier}'")

    anew = await manage("data cleanup --only events --new-run --confirm")

    assert (0, 7) == (anew.exit_code, anew.rows)


async def test_days_below_the_minimum_of_a_rule_are_refused(manage: Manage, url: str) -> None:
    """Before the first row of any rule is deleted; the message has a command that works."""
    add_events(url, 100)

    refused = await manage("data cleanup --days 10 --confirm")

    assert (2, 100) == (refused.exit_code, count(url))
    assert (
        "error[kept-longer]: --days 10: the rule 'events' keeps rows at least 30 days\n"
        "error[kept-longer]: --days 10: the rule 'api-keys' keeps rows at least 30 days\n"
        "  try:  python manage.py data cleanup --only sessions --days 10\n"
        "  try:  python manage.py data cleanup --only oneoff-effects --days 10\n"
        "  try:  python manage.py data cleanup --only oneoff-batches --days 10\n"
    ) in refused.stderr


async def test_the_suggested_command_names_only_the_rule(manage: Manage) -> None:
    """Without the name, the days would apply to every other rule too."""
    refused = await manage("data cleanup --only events --days 10 --confirm")

    assert "  try:  python manage.py data cleanup --only events --days 30\n" in refused.stderr


async def test_more_days_than_the_calendar_has_are_refused(manage: Manage) -> None:
    """The date would be before the first year of a datetime."""
    refused = await manage("data cleanup --only sessions --days 800000 --confirm")

    assert 2 == refused.exit_code
    assert "--days 800000 is more than 365,000: a thousand years" in refused.stderr


@pytest.mark.parametrize("days", ["0", "-5"])
async def test_days_that_would_delete_everything_are_refused(manage: Manage, days: str) -> None:
    """For every rule."""
    refused = await manage(f"data cleanup --only sessions --days={days} --confirm")

    assert 2 == refused.exit_code
    assert f"--days {days} is less than 1" in refused.stderr


async def test_an_unknown_rule_gets_a_suggestion(manage: Manage) -> None:
    """The message also lists the existing names."""
    refused = await manage("data cleanup --only event --confirm")

    assert 2 == refused.exit_code
    assert (
        "error[unknown-retention]: there is no retention rule 'event'; did you mean events?\n"
        "  try:  python manage.py data cleanup --only events\n"
        "  try:  one of the project's retention rules: events, sessions, api-keys, "
        "oneoff-effects, oneoff-batches\n"
    ) in refused.stderr


@pytest.mark.parametrize("line", ["data cleanup", "data cleanup --only events --days 60"])
async def test_a_second_run_is_refused_with_the_id_of_the_first(
    manage: Manage, url: str, line: str
) -> None:
    """Exit code 75. The first run waits for a row that another session has locked."""
    if url.startswith("sqlite"):
        pytest.skip("a batch on SQLite never waits for a row")
    add_events(url, 100)
    blocker = await asyncpg.connect(url)
    async with blocker.transaction():
        await blocker.execute("SELECT FROM events WHERE id = 100 FOR UPDATE")
        first = asyncio.create_task(manage("data cleanup --only events --confirm"))
        await batch_waits(blocker)
        second = await manage(f"{line} --confirm")
        run_id = query(url, "SELECT run_id FROM oneoff_batches")[0][0]
    await blocker.close()
    done = await first

    assert (75, 0, 11) == (second.exit_code, done.exit_code, done.rows)
    assert f"is already running with these arguments: run {run_id}" in second.stderr


async def batch_waits(connection: asyncpg.Connection) -> None:
    """Wait until a batch waits for a lock."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(60):
        while not await connection.fetchval(sql):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.02)


async def test_a_project_without_rules_is_an_error(
    manage_environ: dict[str, str],
) -> None:
    """The exit code is 78."""
    root = Path(__file__).parents[2]
    tally = Manage("tests.support.tally_project:without_shards", str(root), manage_environ)

    refused = await tally("data cleanup --confirm")

    assert 78 == refused.exit_code
    assert "error[no-retention]: the project 'shop' declares no retention rules\n" in refused.stderr


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make batches of ten rows, and return a list of the rows that each of them deletes."""
    for name in ("BATCH", "SMALLEST", "LARGEST"):
        monkeypatch.setattr(cleanup, name, 10)
    sizes: list[int] = []
    step = SetBased.step

    async def watched(
        self: SetBased, connection: AsyncConnection, after: Any, size: int
    ) -> StepResult:
        done = await step(self, connection, after, size)
        sizes.append(done.done)
        return done

    monkeypatch.setattr(SetBased, "step", watched)
    return sizes


async def test_many_rows_with_the_same_time_are_deleted_in_small_batches_too(
    manage: Manage, url: str, small_batches: list[int]
) -> None:
    """An import may give a million rows the same time; rows before and after are deleted too."""
    add_events(url, 35, step=0)
    execute(url, f"UPDATE events SET at = '{NOON}'")
    add_events(url, 3, step=1)
    execute(url, f"UPDATE events SET at = '{EARLIER}' WHERE id IN (36, 37)")
    execute(url, f"UPDATE events SET at = '{LATER}' WHERE id = 38")

    preview = await manage("data cleanup --only events --dry-run")
    sampled = small_batches.pop()
    done = await manage("data cleanup --only events --confirm")

    assert (38, 2, 38, 0) == (preview.rows, sampled, done.rows, count(url))
    assert [2, 10, 10, 10, 6] == small_batches


async def test_a_cleanup_that_stops_among_rows_with_the_same_time_resumes_there(
    manage: Manage, url: str, small_batches: list[int]
) -> None:
    """Its cursor is still before them."""
    add_events(url, 35, step=0)
    execute(url, f"UPDATE events SET at = '{NOON}'")

    stopped = await manage("data cleanup --only events --max-rows 25 --confirm")
    done = await manage("data cleanup --only events --confirm")

    assert (75, 0, 10, 0) == (stopped.exit_code, done.exit_code, done.rows, count(url))
    assert [10, 10, 5, 10, 0] == small_batches


async def test_dates_in_another_format_do_not_cause_an_endless_loop(
    manage: Manage, url: str
) -> None:
    """SQLite compares texts: a date that was read from a text may not be equal to it."""
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL has a type for dates")
    add_events(url, 3, step=0)
    execute(url, "UPDATE events SET at = '2020-01-31 12:00:00.000000+00:00'")

    # The last batch deletes all remaining rows, whatever their format; this run stops before it.
    refused = await manage("data cleanup --only events --max-rows 2 --confirm")

    assert (65, 3) == (refused.exit_code, count(url))
    message = "events.at has dates in different formats; one of them is read as 2020-01-31"
    assert f"error[batch-unequal]: {message}" in refused.stderr
