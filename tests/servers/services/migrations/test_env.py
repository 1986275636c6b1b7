"""What a project's env.py may do: call `run_env`, and nothing that leads to another database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import CREATE_ITEM, DROP_ITEM, Shop

OWN_ENGINE = """
from alembic import context
from sqlalchemy import MetaData, create_engine

with create_engine("sqlite:///other.sqlite3").connect() as connection:
    context.configure(connection=connection, target_metadata=MetaData())
    with context.begin_transaction():
        context.run_migrations()
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
    callback = (
        f"on_version_apply=lambda **facts: open({str(file)!r}, 'a').write(facts['step'].up_revision_id)"
    )
    env(shop).write_text(WITH_OPTION.format(callback))

    done = await shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert "a1" in file.read_text()
