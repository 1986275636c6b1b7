"""`db rollback` and `db reset`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop


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


async def test_a_reset_drops_everything_and_migrates_again(shop: Shop) -> None:
    """Objects that were created by hand are dropped too. The record of runs stays."""
    await shop.query("CREATE TABLE by_hand (id INTEGER PRIMARY KEY)")
    await shop.query('CREATE VIEW "odd "" name" AS SELECT id FROM by_hand')
    await shop.query("DELETE FROM item")

    done = await shop.manage(f"db reset {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert done.stdout.endswith("dropped 5 objects, applied 3 revisions\n")
    assert {"item", "note"} == await shop.tables()
    assert [("one",)] == await shop.query("SELECT name FROM item")
    assert [("db migrate",), ("db reset",)] == await shop.query(
        "SELECT command FROM oneoff_runs ORDER BY started_at, command"
    )
    assert [(3,)] == await shop.query("SELECT count(*) FROM oneoff_applied_revisions")


async def test_a_reset_can_load_the_sample_data(shop: Shop) -> None:
    """In the same run."""
    done = await shop.manage(f"db reset --seed {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert [("one",), ("reference",), ("sample",)] == await shop.query(
        "SELECT name FROM item ORDER BY name"
    )


async def test_a_dry_run_of_a_reset_lists_the_objects(shop: Shop) -> None:
    """It drops nothing."""
    shown = await shop.manage("db reset --dry-run --json")

    names = {row["name"].rpartition(".")[2] for row in shown.json["data"]}
    assert {"alembic_version", "item", "note"} == names
    assert {"item", "note"} == await shop.tables()


async def test_a_reset_drops_every_kind_of_object(tmp_path: Path, postgres_url: str) -> None:
    """Types, sequences, routines, partitions and cycles of foreign keys. Extensions stay."""
    shop = Shop(tmp_path / "shop", postgres_url)
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    for statement in (
        "CREATE EXTENSION pg_trgm",
        "CREATE TYPE \"Mood\" AS ENUM ('good')",
        "CREATE DOMAIN positive AS int CHECK (value > 0)",
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE SEQUENCE counter",
        'CREATE TABLE "select" (id serial PRIMARY KEY, mood "Mood", p positive, other int)',
        'CREATE TABLE b (id int PRIMARY KEY REFERENCES "select")',
        'ALTER TABLE "select" ADD FOREIGN KEY (other) REFERENCES b',
        "CREATE MATERIALIZED VIEW m AS SELECT id FROM b",
        "CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parts DEFAULT",
        'CREATE FUNCTION "f x"(a "Mood", b int DEFAULT 1) RETURNS int LANGUAGE sql AS \'SELECT 1\'',
        "CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1'",
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",
    ):
        await shop.query(statement)

    done = await shop.manage(f"db reset {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert {"item"} == await shop.tables()
    assert [] == await shop.query(LEFT)


LEFT = """
WITH extended AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND oid NOT IN (SELECT objid FROM extended)
UNION ALL
SELECT typname FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND oid NOT IN (SELECT objid FROM extended)
  AND typtype IN ('e', 'd', 'r')
"""


async def test_a_cycle_of_foreign_keys_is_dropped_on_sqlite(
    tmp_path: Path, sqlite_url: str
) -> None:
    """The order of the tables does not matter."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    await shop.query("CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b)")
    await shop.query("CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a)")
    await shop.query("INSERT INTO a VALUES (1, NULL)")
    await shop.query("INSERT INTO b VALUES (1, 1)")
    await shop.query("UPDATE a SET b = 1")

    done = await shop.manage(f"db reset {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert set() == await shop.tables()
