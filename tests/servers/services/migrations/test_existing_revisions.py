"""Revisions and databases that existed before oneoff: what other programs wrote or left."""

from __future__ import annotations

import pytest

from tests.support.shop import CREATE_ITEM, FAIL, Shop

REBUILD = 'with op.batch_alter_table("{}", recreate="always") as batch:'


TRIGGER = """
    CREATE TABLE t (id int, changed int DEFAULT 0);
    -- a function; and its trigger
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN NEW.changed := 1; RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
    INSERT INTO t VALUES (1); UPDATE t SET id = 2;
"""


async def test_several_statements_in_one_text_are_run(postgres_shop: Shop) -> None:
    """Revisions that were written for psycopg contain them."""
    postgres_shop.write(
        "a1", None, f"op.execute({TRIGGER!r})", "op.execute('DROP TABLE t; SELECT 1')"
    )
    target = f"--confirm={postgres_shop.database().url.name}@test"

    done = await postgres_shop.manage("db migrate")
    rows = await postgres_shop.query("SELECT id, changed FROM t")
    undone = await postgres_shop.manage(f"db rollback {target}")

    assert (0, [(2, 1)]) == (done.exit_code, rows), done.stderr
    assert (0, set()) == (undone.exit_code, await postgres_shop.tables()), undone.stderr


async def test_several_statements_in_one_text_may_have_parameters(shop: Shop) -> None:
    """Their values are written into the text, as a dry run shows it."""
    text = "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (:a, :b)"
    values = {"a": 1, "b": "it's; 100%"}
    shop.write("a1", None, f"op.execute(sa.text({text!r}).bindparams(**{values!r}))")

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert [(1, "it's; 100%")] == await shop.query("SELECT a, b FROM t")


async def test_several_statements_in_one_text_are_applied_completely_or_not_at_all(
    shop: Shop,
) -> None:
    """The error of the second one rolls the first one back."""
    shop.write("a1", None, "op.execute('CREATE TABLE t (id int); SELECT nothing FROM nowhere')")

    failed = await shop.manage("db migrate")

    assert (1, set()) == (failed.exit_code, await shop.tables())
    assert "failed at migrations/versions/a1.py:9" in failed.stderr


async def test_a_revision_that_sends_commit_is_not_called_rolled_back(shop: Shop) -> None:
    """Its changes stay, and the error says so."""
    shop.write("a1", None, f"op.execute('CREATE TABLE t (id int); COMMIT; BEGIN')\n{FAIL}")

    failed = await shop.manage("db migrate")

    assert "part of it may have been committed outside its transaction" in failed.stderr


@pytest.mark.parametrize(
    ("batch", "operation"),
    [
        (REBUILD.format("item"), 'add_column(sa.Column("n", sa.Text))'),
        ('with op.batch_alter_table("item") as batch:', 'create_unique_constraint("u", ["name"])'),
    ],
)
async def test_the_copy_of_an_interrupted_migration_is_named(
    sqlite_shop: Shop, batch: str, operation: str
) -> None:
    """The revision needs no correction, however the statement quotes the name of the copy."""
    sqlite_shop.write("a1", None, CREATE_ITEM)
    await sqlite_shop.manage("db migrate")
    await sqlite_shop.query("CREATE TABLE _alembic_tmp_item (id integer)")
    sqlite_shop.write("a2", "a1", f"{batch}\n    batch.{operation}")

    failed = await sqlite_shop.manage("db migrate")

    assert "correct migrations" not in failed.stderr
    assert (
        "an interrupted migration left this copy, which no revision needs; it was rolled back\n"
        "  try:  python manage.py db shell --write -c 'DROP TABLE \"_alembic_tmp_item\"'\n"
    ) in failed.stderr


PARTS = (
    "CREATE TABLE part (id INTEGER PRIMARY KEY, item_id INTEGER REFERENCES item(id))",
    "INSERT INTO part (item_id) VALUES (7)",
)


@pytest.mark.parametrize(
    "change",
    [
        "op.execute('CREATE TABLE other (id int)')",
        'op.rename_table("part", "piece")',
        f'{REBUILD.format("part")}\n    batch.add_column(sa.Column("note", sa.Text))',
    ],
)
async def test_rows_that_referred_to_nothing_before_do_not_stop_a_revision(
    sqlite_shop: Shop, change: str
) -> None:
    """Only those that the revision adds do."""
    sqlite_shop.write("a1", None, CREATE_ITEM)
    await sqlite_shop.manage("db migrate")
    database = sqlite_shop.database()
    async with database.autocommit("look") as connection:
        await connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        for statement in PARTS:
            await connection.exec_driver_sql(statement)
    await database.dispose()
    sqlite_shop.write("a2", "a1", change)
    sqlite_shop.write("a3", "a2", "op.execute('CREATE TABLE b (id int REFERENCES item(id))')")
    sqlite_shop.write("a4", "a3", "op.execute('INSERT INTO b VALUES (8)')")

    done = await sqlite_shop.manage("db migrate")

    assert ["a3"] == await sqlite_shop.versions_applied(), done.stderr
    assert "1 row would refer to rows that don't exist: b (to item)" in done.stderr
