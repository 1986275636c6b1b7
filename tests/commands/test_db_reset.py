"""`db reset`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, INSERT_OUTSIDE, Shop

ORDERED_SET = (
    "SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = mode_final, FINALFUNC_EXTRA"
)


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with three revisions, all applied."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("a2", "a1", 'op.create_table("note", sa.Column("id", sa.Integer))')
    shop.write("a3", "a2", INSERT_ONE)
    migrated = await shop.manage("db migrate")
    assert 0 == migrated.exit_code, migrated.stderr
    return shop


def target(shop: Shop) -> str:
    """Return the option that confirms a command on this database."""
    return f"--confirm={shop.database().url.name}@test"


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
        "CREATE AGGREGATE rows(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')",
        f"CREATE AGGREGATE middle(ORDER BY anyelement) ({ORDERED_SET})",
    ):
        await shop.query(statement)

    done = await shop.manage(f"db reset {target(shop)}")

    assert 0 == done.exit_code, done.stderr
    assert {"item"} == await shop.tables()
    assert [] == await shop.query(LEFT)


LEFT = """
WITH extended AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND NOT starts_with(proname, 'oneoff_')
  AND oid NOT IN (SELECT objid FROM extended)
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


async def test_a_reset_drops_the_schemas_that_revisions_create(
    tmp_path: Path, postgres_url: str
) -> None:
    """With everything in them, also if no model names them. Other schemas stay."""
    shop = Shop(tmp_path / "shop", postgres_url)
    shop.write("a1", None, "op.execute('CREATE SCHEMA \"crm\"; CREATE TABLE crm.people (id int)')")
    shop.write("a2", "a1", "op.execute(sa.schema.CreateSchema('log', if_not_exists=True))")
    shop.write("a3", "a2", "op.execute('create schema if not exists public')")
    await shop.manage("db migrate")
    await shop.query("CREATE SCHEMA other")

    done = await shop.manage(f"db reset {target(shop)} --json")

    assert 0 == done.exit_code, done.stderr
    assert {"public.alembic_version", "crm.people", "crm", "log"} == {
        row["name"] for row in done.json["data"]
    }
    assert [("crm",), ("log",), ("other",), ("public",)] == await shop.query(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|info)' ORDER BY 1"
    )


async def test_a_reset_that_can_not_migrate_drops_nothing(shop: Shop) -> None:
    """The objects, their rows and the revision of the database stay."""
    shop.write("a4", "a3", "op.execute('SELECT nothing FROM nowhere')")

    failed = await shop.manage(f"db reset {target(shop)}")

    assert 1 == failed.exit_code
    assert "revision a4 (Revision a4) failed at" in failed.stderr
    assert "why:  all was rolled back, and nothing was dropped\n" in failed.stderr
    assert (["a3"], [("one",)]) == (
        await shop.versions_applied(),
        await shop.query("SELECT name FROM item"),
    )


async def test_an_object_that_a_reset_does_not_drop_makes_it_change_nothing(
    tmp_path: Path, postgres_url: str
) -> None:
    """Extensions stay, so a revision can't create one again."""
    shop = Shop(tmp_path / "shop", postgres_url)
    shop.write("a1", None, f"{CREATE_ITEM}{INSERT_ONE}\nop.execute('CREATE EXTENSION pg_trgm')")
    await shop.manage("db migrate")

    failed = await shop.manage(f"db reset {target(shop)}")

    assert "nothing was dropped" in failed.stderr
    assert [("one",)] == await shop.query("SELECT name FROM item")


async def test_a_reset_says_if_a_revision_left_its_transaction(shop: Shop) -> None:
    """Then what was done before can't be rolled back."""
    shop.write("a4", "a3", INSERT_OUTSIDE)
    shop.write("a5", "a4", "op.execute('SELECT nothing FROM nowhere')")

    failed = await shop.manage(f"db reset {target(shop)}")

    assert 1 == failed.exit_code
    assert "a revision left its transaction; what was done before that is kept" in failed.stderr
    assert ["a3"] == await shop.versions_applied()
