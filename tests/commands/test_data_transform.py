"""`data transform` and `data transforms`."""

from __future__ import annotations

import pytest

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser
from tests.support.tally_project import execute

OPEN = "UPDATE oneoff_runs SET status = 'started', finished_at = NULL, host = 'far' {}"
LANGUAGES = ("de-DE,de;q=0.9,en;q=0.8", "nl", "fr;q=0.2, es;q=0.7")


@pytest.fixture
async def url(manage_environ: dict[str, str], make_user: MakeUser) -> str:
    """Return the URL of a database with four users; three of them have a language."""
    url = manage_environ["DATABASE_URL"]
    for number, language in enumerate(LANGUAGES, start=1):
        await make_user(f"user{number}")
        execute(url, f"UPDATE users SET accept_language = '{language}' WHERE id = {number}")
    await make_user("user4")
    return url


def locales(url: str) -> list[str | None]:
    """Return the locale of each user."""
    return [row[0] for row in query(url, "SELECT locale FROM users ORDER BY id")]


async def test_a_transform_is_run_by_its_name(manage: Manage, url: str) -> None:
    """The second run finds nothing to do."""
    done = await manage("data transform fill-locale --confirm --json")
    again = await manage("data transform fill-locale --confirm")

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    assert ["de", "en", "es", None] == locales(url)
    assert ("fill-locale", "ADM-002") == (
        done.json["data"]["transform"],
        done.json["data"]["task_id"],
    )
    assert (0, "nothing to do\n") == (again.exit_code, again.stdout)


async def test_a_dry_run_changes_nothing(manage: Manage, url: str) -> None:
    """It predicts the number of rows of the real run."""
    preview = await manage("data transform fill-locale --dry-run")

    assert (0, 3, [None] * 4) == (preview.exit_code, preview.rows, locales(url))


async def test_after_a_revert_the_transform_starts_again(manage: Manage, url: str) -> None:
    """If the stopped batch were resumed, it would skip the rows that were reverted."""
    await manage("data transform fill-locale --max-rows 2 --confirm")
    reverted = await manage("data transform fill-locale --revert --confirm")
    between = locales(url)
    resumed = await manage("data transform fill-locale --confirm")

    assert (0, 2, [None] * 4) == (reverted.exit_code, reverted.rows, between)
    assert (0, 3, ["de", "en", "es", None]) == (resumed.exit_code, resumed.rows, locales(url))
    states = query(url, "SELECT status FROM oneoff_batches ORDER BY started_at")
    assert [("cancelled",), ("finished",), ("finished",)] == states


@pytest.mark.parametrize("words", ["", "--shards 2", "--shard 1/2"])
async def test_a_transform_is_not_reverted_while_it_runs(
    manage: Manage, url: str, words: str
) -> None:
    """Each would undo the other's rows, and both would report that all rows are done."""
    await manage("data transform fill-locale --max-rows 2 --confirm")
    run = "WHERE id = (SELECT run_id FROM oneoff_batches)"
    execute(url, f"UPDATE oneoff_batches SET status = 'running'; {OPEN.format(run)}")

    refused = await manage(f"data transform fill-locale --revert {words} --confirm")

    assert 75 == refused.exit_code
    assert "error[batch-running]: data transform fill-locale is already running" in refused.stderr
    assert ["de", "en", None, None] == locales(url)


async def test_batches_are_listed_with_the_command_that_resumes_them(
    manage: Manage, url: str
) -> None:
    """An operator can copy it."""
    await manage("data transform fill-locale --max-rows 1 --confirm")
    await manage("data transform fill-locale --revert --confirm")

    listed = await manage("batch list --json")

    assert [
        ("data transform fill-locale --revert", "finished"),
        ("data transform fill-locale", "cancelled"),
    ] == [(batch["command"], batch["state"]) for batch in listed.json["data"]]


async def test_transforms_are_listed_with_their_states(manage: Manage, url: str) -> None:
    """Never run, stopped, finished, or reverted."""
    seen = []
    for line in (
        "data transforms",
        "data transform fill-locale --max-rows 1 --confirm",
        "data transform fill-locale --confirm",
        "data transform fill-locale --revert --confirm",
    ):
        await manage(line)
        listed = await manage("data transforms --json")
        (one,) = listed.json["data"]
        seen.append((one["state"], one["rows_changed"], one["revertible"]))

    assert [
        ("never run", 0, True),
        ("stopped", 1, True),
        ("finished", 3, True),
        ("revert finished", 3, True),
    ] == seen


async def test_an_unknown_transform_gets_a_suggestion(manage: Manage) -> None:
    """The exit code is 2."""
    refused = await manage("data transform fill-locales --confirm")

    assert 2 == refused.exit_code
    assert (
        "error[unknown-transform]: there is no transform 'fill-locales'; did you mean "
        "fill-locale?\n"
        "  try:  python manage.py data transform fill-locale\n"
        "  try:  one of the project's transforms: fill-locale\n"
    ) in refused.stderr
