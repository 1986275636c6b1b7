"""`db rollback`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop, revision


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with three revisions, all applied."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write(
        "a2", "a1", 'op.create_table("note", sa.Column("id", sa.Integer))', 'op.drop_table("note")'
    )
    shop.write("a3", "a2", INSERT_ONE, 'op.execute("DELETE FROM item")')
    migrated = await shop.manage("db migrate")
    assert 0 == migrated.exit_code, migrated.stderr
    return shop


def target(shop: Shop) -> str:
    """Return the option that confirms a command on this database."""
    return f"--confirm={shop.database().url.name}@test"


async def test_one_step_is_undone(shop: Shop) -> None:
    """The row with the time at which it was applied is deleted too."""
    done = await shop.manage(f"db rollback {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert done.stdout.endswith("rolled back from a3 to a2\n")
    assert ["a2"] == await shop.versions_applied()
    assert [("a1",), ("a2",)] == await shop.query(
        "SELECT revision FROM oneoff_applied_revisions ORDER BY revision"
    )


@pytest.mark.parametrize("how", ["--steps 2", "--to a1"])
async def test_several_steps_are_undone(shop: Shop, how: str) -> None:
    """By number, or down to a revision."""
    await shop.manage(f"db rollback {how} {target(shop)}")

    assert ["a1"] == await shop.versions_applied()
    assert {"item"} == await shop.tables()


async def test_everything_is_undone_down_to_base(shop: Shop) -> None:
    """The second run has nothing to do."""
    await shop.manage(f"db rollback --to base {target(shop)}")
    again = await shop.manage(f"db rollback --to base {target(shop)}")

    assert set() == await shop.tables()
    assert (0, "nothing to do: no revision is applied\n") == (again.exit_code, again.stdout)


async def test_a_dry_run_shows_what_would_be_dropped(shop: Shop) -> None:
    """It drops nothing."""
    shown = await shop.manage("db rollback --to base --dry-run")

    assert (
        "DRY RUN: nothing was changed\n"
        "revision  message      drops\n"
        "a3        Revision a3  nothing\n"
        "a2        Revision a2  DROP TABLE note\n"
        "a1        Revision a1  DROP TABLE item\n"
        "would roll back 3 revisions, from a3\n"
    ) == shown.stdout
    assert {"item", "note"} == await shop.tables()


@pytest.mark.parametrize(
    ("downgrade", "shown"),
    [
        ('op.execute("drop\\n table crm.people")', "drop table crm.people"),
        ("op.execute('DO $$ BEGIN END $$')", "unknown: DO $$ BEGIN END $$"),
        ("op.get_bind().scalar(sa.text('SELECT 1'))", "unknown: "),
    ],
)
async def test_a_dry_run_never_shows_that_nothing_is_dropped_without_knowing_it(
    shop: Shop, downgrade: str, shown: str
) -> None:
    """SQL by hand is shown too, and what can't be known is shown as unknown."""
    shop.write("a3", "a2", INSERT_ONE, downgrade)

    dry = await shop.manage("db rollback --dry-run --json")

    assert dry.json["data"][0]["drops"].startswith(shown)


async def test_downgrade_runs_once(shop: Shop) -> None:
    """The SQL of a real rollback is not shown first, because that would call the function too."""
    file = shop.root / "calls.txt"
    shop.write("a3", "a2", INSERT_ONE, f"open({str(file)!r}, 'a').write('called ')")

    done = await shop.manage(f"db rollback {target(shop)}")

    assert (0, "called ") == (done.exit_code, file.read_text())


async def test_the_steps_after_a_merge_are_undone_one_by_one(shop: Shop) -> None:
    """First the merge. Then it is not defined which of the two heads is the newest."""
    shop.write("b2", "a1")
    (shop.versions / "m.py").write_text(revision("m", "").replace("''", "('a3', 'b2')", 1))
    assert 0 == (await shop.manage("db migrate")).exit_code

    refused = await shop.manage(f"db rollback --steps 2 {target(shop)}")
    unchanged = await shop.versions_applied()
    merge = await shop.manage(f"db rollback {target(shop)}")
    after = sorted(await shop.versions_applied())
    branch = await shop.manage(f"db rollback --to b2@-1 {target(shop)}")

    assert (1, ["m"]) == (refused.exit_code, unchanged)
    assert (0, ["a3", "b2"]) == (merge.exit_code, after), merge.stderr
    assert (0, ["a3"]) == (branch.exit_code, await shop.versions_applied()), branch.stderr


async def test_steps_are_refused_while_the_database_has_several_heads(
    shop: Shop,
) -> None:
    """More revisions than confirmed could be undone. The error names what can be given instead."""
    shop.write("b2", "a1", 'op.create_table("part", sa.Column("id", sa.Integer))')
    assert 0 == (await shop.manage("db migrate --revision heads")).exit_code

    refused = await shop.manage(f"db rollback --steps 2 {target(shop)}")

    assert 1 == refused.exit_code
    assert (
        "error[ambiguous-rollback]: it is not defined which 2 revisions to undo: the database has "
        "2 heads: a3 and b2\n"
        "  why:  no revision is the newest one\n"
        "  try:  python manage.py rollback --to a3@-1\n"
        "  try:  python manage.py rollback --to b2@-1\n"
        "  try:  python manage.py rollback --to a1\n"
        "  try:  python manage.py rollback --to a2\n"
    ) in refused.stderr
    assert {"item", "note", "part"} == await shop.tables()


async def test_invalid_steps_are_refused_before_the_confirmation(shop: Shop) -> None:
    """It is a usage error, not a refusal."""
    failed = await shop.manage("db rollback --steps -1")

    assert (2, True) == (failed.exit_code, "--steps -1 is less than 1" in failed.stderr)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("", "it undoes the newest revision in "),
        ("--steps 2", "it undoes the newest 2 revisions in "),
        ("--to a1", "it undoes every revision after a1 in "),
    ],
)
async def test_the_confirmation_names_the_revisions(shop: Shop, how: str, says: str) -> None:
    """With the operator's own values."""
    refused = await shop.manage(f"db rollback {how}")

    assert (77, True) == (refused.exit_code, says in refused.stderr)


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        (
            "--steps 9",
            1,
            "error[unreachable-revision]: the database can't go back 9 revisions from a3",
        ),
        ("--to b9", 1, "error[unknown-revision]: there is no revision 'b9'"),
        ("--steps 0", 2, "--steps 0 is less than 1"),
        ("--steps 1 --to a1", 2, "--steps and --to can't be used together"),
    ],
)
async def test_an_impossible_rollback_is_refused(
    shop: Shop, how: str, code: int, says: str
) -> None:
    """Nothing is changed."""
    failed = await shop.manage(f"db rollback {how} {target(shop)}")

    assert code == failed.exit_code
    assert says in failed.stderr
    assert ["a3"] == await shop.versions_applied()


async def test_a_failing_downgrade_reports_what_was_undone(shop: Shop) -> None:
    """The steps before it stay undone. The failed step is rolled back."""
    shop.write("a2", "a1", "pass", "op.drop_table('note')\nraise NotImplementedError")

    failed = await shop.manage(f"db rollback --steps 2 {target(shop)}")

    assert 1 == failed.exit_code
    assert "revision a2 (Revision a2) failed at migrations/versions/a2.py:14" in failed.stderr
    assert "why:  it was rolled back; rolled back before it: a3" in failed.stderr
    assert ["a2"] == await shop.versions_applied()
    assert {"item", "note"} == await shop.tables()
