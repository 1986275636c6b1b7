"""What a project's env.py may do: call `run_env`, and nothing that leads to another database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, DROP_ITEM, Shop

OWN_ENGINE = """
from alembic import context
from sqlalchemy import MetaData, NullPool, create_engine

engine = create_engine("sqlite:///other.sqlite3", poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=MetaData())
    with context.begin_transaction():
        context.run_migrations()
"""
UNIQUE_EXPRESSION = """
import sqlalchemy as sa
from oneoff import run_env

metadata = sa.MetaData()
users = sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True),
                 sa.Column("email", sa.String(99)))
sa.Index("uq_users_email", sa.text("lower(email)"), unique=True, _table=users)
run_env(metadata)
"""
WITH_OPTION = (
    "from oneoff import run_env\nfrom tests.support.shop import metadata\nrun_env(metadata, {})\n"
)


@pytest.fixture
def shop(tmp_path: Path, sqlite_url: str) -> Shop:
    """Give a project with one revision, on an empty database."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    return shop


def env(shop: Shop) -> Path:
    """Return the path of env.py."""
    return shop.root / "migrations" / "env.py"


@pytest.mark.parametrize("line", ["db migrate", "db migrate --dry-run"])
@pytest.mark.parametrize("source", [OWN_ENGINE, "pass\n"], ids=["own engine", "nothing"])
async def test_an_env_py_without_run_env_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, source: str, line: str
) -> None:
    """It would migrate another database, or none, and report success."""
    monkeypatch.chdir(shop.root)
    env(shop).write_text(source)

    done = await shop.manage(line)

    assert 78 == done.exit_code, done.stdout
    assert "error[no-run-env]" in done.stderr
    assert (
        not (shop.root / "other.sqlite3").exists() or not (shop.root / "other.sqlite3").read_bytes()
    )


@pytest.mark.parametrize("option", ["version_table='v'", "version_table_schema='crm'", "url='x'"])
async def test_an_option_that_oneoff_sets_itself_is_refused(shop: Shop, option: str) -> None:
    """It would have no effect, or hide the revisions that are applied."""
    env(shop).write_text(WITH_OPTION.format(option))

    done = await shop.manage("db migrate")

    assert 78 == done.exit_code, done.stdout
    assert f"run_env does not take the option {option.partition('=')[0]}" in done.stderr
    assert "item" not in await shop.tables()


async def test_a_callback_of_env_py_is_called_for_each_revision(shop: Shop) -> None:
    """Beside the one that oneoff passes."""
    file = shop.root / "applied.txt"
    write = f"open({str(file)!r}, 'a').write(facts['step'].up_revision_id)"
    callback = f"on_version_apply=lambda **facts: {write}"
    env(shop).write_text(WITH_OPTION.format(callback))

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert "a1" in file.read_text()


async def test_an_index_on_an_expression_is_created_on_sqlite(
    tmp_path: Path, sqlite_url: str
) -> None:
    """SQLAlchemy can't read it from the database, but that is no reason to leave it out."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    env(shop).write_text(UNIQUE_EXPRESSION)

    written = await shop.manage("db create-migration -m users")
    applied = await shop.manage("db migrate")
    created = await shop.query("SELECT name FROM sqlite_master WHERE name = 'uq_users_email'")
    again = await shop.manage("db create-migration --check")
    undone = await shop.manage(
        f"db rollback --confirm={Path(shop.database().url.database).stem}@test"
    )

    assert "add index uq_users_email on users" in written.stdout, written.stderr
    assert (0, 0, 0) == (applied.exit_code, again.exit_code, undone.exit_code), undone.stderr
    assert [("uq_users_email",)] == created
    assert "users" not in await shop.tables()
