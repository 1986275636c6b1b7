"""Write the models of a test into its env.py, and run them through makemigrations and back."""

from __future__ import annotations

from importlib.util import cache_from_source
from pathlib import Path

from oneoff.services.migrations.snapshot import take_snapshot
from tests.support.shop import Shop

HEAD = """\
import enum
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, mapped_column
from oneoff import run_env

class Base(DeclarativeBase):
    pass

{models}

run_env(Base.metadata{options})
"""


def write_models(shop: Shop, models: str, options: str = "") -> None:
    """Write env.py with models, which can use `sa`, `pg`, `enum`, `mapped_column` and `Base`."""
    source = HEAD.format(models=models, options=options and f", {options}")
    env = shop.root / "migrations/env.py"
    env.write_text(source)
    # Python knows a changed source by its size and the second of its change: both may be equal.
    Path(cache_from_source(str(env))).unlink(missing_ok=True)


def target(shop: Shop) -> str:
    """Return the name with which a rollback is confirmed."""
    name = shop.database().url.database
    return f"{Path(name).stem if shop.url.startswith('sqlite') else name}@test"


async def schema(shop: Shop) -> frozenset[str]:
    """Return the lines that describe the schema of the database."""
    database = shop.database()
    async with database.connect("look") as connection:
        found = await take_snapshot(connection)
    await database.dispose()
    return found


async def make(shop: Shop, *options: str) -> str:
    """Run makemigrations and migrate; return standard error if one of them fails."""
    made = await shop.manage(["db", "create-migration", "-m", "change", *options])
    if made.exit_code:
        return made.stderr
    migrated = await shop.manage("db migrate")
    return migrated.stderr if migrated.exit_code else ""


async def change_and_undo(shop: Shop, old: str, new: str) -> tuple[frozenset[str], frozenset[str]]:
    """Migrate from old models to new ones, compare, undo, compare, and migrate again.

    Return the schema before and after the change.
    """
    write_models(shop, old)
    assert not (failed := await make(shop)), failed
    before = await schema(shop)
    write_models(shop, new)
    assert not (failed := await make(shop, "--allow-drops")), failed
    after = await schema(shop)
    assert before != after, "nothing was changed"
    checked = await shop.manage("db create-migration --check")
    assert 0 == checked.exit_code, checked.stdout
    undone = await shop.manage(f"db rollback --confirm={target(shop)}")
    assert 0 == undone.exit_code, undone.stderr
    assert before == await schema(shop)
    again = await shop.manage("db migrate")
    assert 0 == again.exit_code, again.stderr
    assert after == await schema(shop)
    return before, after
