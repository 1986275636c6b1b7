"""`batch_alter_table` on SQLite keeps what the revision does not name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import Shop

RICH = (
    "CREATE TABLE rich (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "name TEXT COLLATE NOCASE CHECK (name <> ''), size INT DEFAULT 3 NOT NULL, "
    "twice INT GENERATED ALWAYS AS (size * 2) STORED, more INT AS (size + 1), old INT, "
    "CHECK (size > 0), UNIQUE (name) ON CONFLICT IGNORE)"
)
OBJECTS = (
    "CREATE UNIQUE INDEX uq_low ON rich (lower(name)) WHERE size > 1",
    "CREATE TABLE log (name TEXT)",
    "CREATE TRIGGER logged AFTER INSERT ON rich BEGIN INSERT INTO log VALUES (new.name); END",
    "CREATE VIEW names AS SELECT name FROM rich",
    "INSERT INTO rich (name, size) VALUES ('a', 5), ('b', 6)",
    "DELETE FROM rich WHERE name = 'b'",
)
DROP_OLD = 'with op.batch_alter_table("rich") as batch:\n    batch.drop_column("old")'


@pytest.fixture
def shop(tmp_path: Path, sqlite_url: str) -> Shop:
    """Return a project whose first revision creates a table with all that SQLite offers."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    shop.write("a1", None, "\n".join(f"op.execute({sql!r})" for sql in (RICH, *OBJECTS)))
    return shop


async def objects(shop: Shop) -> dict[str, str]:
    """Return the statements that SQLite stores, without spaces."""
    rows = await shop.query("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: "".join(sql.split()).replace('"', "") for name, sql in rows}


async def test_only_the_dropped_column_is_missing(shop: Shop) -> None:
    """Checks, collations, generated columns, indexes, triggers and views stay."""
    await shop.manage("db migrate --revision a1")
    before = await objects(shop)
    shop.write("a2", "a1", DROP_OLD)

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    after = await objects(shop)
    assert before.pop("rich").replace("oldINT,", "") == after.pop("rich")
    assert before == after
    assert [(1, "a", 5, 10, 6)] == await shop.query("SELECT * FROM rich")


async def test_a_key_of_a_deleted_row_is_not_given_again(shop: Shop) -> None:
    """AUTOINCREMENT promises that."""
    shop.write("a2", "a1", DROP_OLD)
    await shop.manage("db migrate")

    await shop.query("INSERT INTO rich (name) VALUES ('c')")

    assert [(3,)] == await shop.query("SELECT id FROM rich WHERE name = 'c'")


@pytest.mark.parametrize("options", ["STRICT", "WITHOUT ROWID"])
async def test_options_of_the_table_stay(shop: Shop, options: str) -> None:
    """They follow the closing parenthesis."""
    shop.write(
        "a1", None, f"op.execute('CREATE TABLE rich (a INT PRIMARY KEY, old INT) {options}')"
    )
    shop.write("a2", "a1", DROP_OLD)

    await shop.manage("db migrate")

    assert (await objects(shop))["rich"].endswith(options.replace(" ", ""))


async def test_a_column_is_changed_in_place(shop: Shop) -> None:
    """Its other clauses stay."""
    change = 'batch.alter_column("size", type_=sa.BigInteger(), server_default="4", nullable=True)'
    shop.write("a2", "a1", f'with op.batch_alter_table("rich") as batch:\n    {change}')

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert "sizeBIGINTDEFAULT'4',twiceINTGENERATED" in (await objects(shop))["rich"]


async def test_a_constraint_without_a_name_is_dropped_by_its_default_name(shop: Shop) -> None:
    """SQLite stores no name for it."""
    drop = 'batch.drop_constraint("rich_name_key", type_="unique")'
    shop.write("a2", "a1", f'with op.batch_alter_table("rich") as batch:\n    {drop}')

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert "UNIQUE(name)" not in (await objects(shop))["rich"]


async def test_alembic_s_own_way_is_refused_if_it_would_lose_something(shop: Shop) -> None:
    """The message names it, and the table is unchanged."""
    shop.write(
        "a2", "a1", DROP_OLD.replace('"rich"', '"rich", reflect_kwargs={"keep_existing": 1}')
    )

    done = await shop.manage("db migrate")

    assert 1 == done.exit_code
    assert "changing the table rich would lose: trigger logged, " in done.stderr
    assert "oldINT" in (await objects(shop))["rich"]
