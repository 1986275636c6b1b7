"""What a project's env.py may do: call `run_env` with options, and migrate only this database."""

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
SWALLOWED = f"""
try:
    {OWN_ENGINE.strip().replace(chr(10), chr(10) + "    ")}
except Exception:
    pass
"""
TWICE = """
from alembic import context
from oneoff import run_env
from tests.support.shop import metadata

run_env(metadata)
context.run_migrations()
"""
LOOP = """
from oneoff import run_env
from tests.support.shop import metadata

for _ in range(2):
    run_env(metadata)
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


@pytest.mark.parametrize("line", ["db migrate", "db migrate --dry-run", "db migrate --check"])
@pytest.mark.parametrize(
    ("source", "says"),
    [
        (OWN_ENGINE, "env-other-database]: migrations/env.py connects to another database"),
        ("pass\n", "env-runs-nothing]: migrations/env.py never runs the migrations"),
        (TWICE, "env-not-supported]: migrations/env.py runs the migrations more than once"),
        (LOOP, "env-not-supported]: migrations/env.py runs the migrations more than once"),
        (SWALLOWED, "env-other-database]: migrations/env.py connects to another database"),
        ("1 / 0\n", "project-broken]: migrations/env.py can't be run: migrations/env.py:1: Zero"),
        (
            "raise SystemExit('no')\n",
            "project-broken]: migrations/env.py can't be run: migrations/env.py:1: SystemExit",
        ),
    ],
    ids=["other database", "nothing", "twice", "loop", "swallowed", "error", "exit"],
)
async def test_an_env_py_that_would_migrate_something_else_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, source: str, says: str, line: str
) -> None:
    """Nothing is applied to the database of the run, or to another one."""
    monkeypatch.chdir(shop.root)
    env(shop).write_text(source)

    done = await shop.manage(line)

    other = shop.root / "other.sqlite3"
    assert 78 == done.exit_code, done.stdout
    assert f"error[{says}" in done.stderr
    assert (set(), False) == (await shop.tables(), other.exists() and bool(other.read_bytes()))


@pytest.mark.parametrize("option", ["as_sql=False", "transactional_ddl=True", "url='x'"])
async def test_an_option_that_oneoff_sets_itself_is_refused(shop: Shop, option: str) -> None:
    """It would have no effect."""
    env(shop).write_text(WITH_OPTION.format(option))

    done = await shop.manage("db migrate")

    assert 78 == done.exit_code, done.stdout
    assert f"run_env does not take the option {option.partition('=')[0]}" in done.stderr
    assert "item" not in await shop.tables()


@pytest.mark.parametrize("option", ["version_table='v'", "version_table_schema='crm'"])
async def test_the_version_table_of_env_py_is_used_by_every_command(
    tmp_path: Path, postgres_url: str, option: str
) -> None:
    """Its name and its schema."""
    shop = Shop(tmp_path / "shop", postgres_url)
    env(shop).write_text(WITH_OPTION.format(option))
    await shop.query("CREATE SCHEMA crm")
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    target = f"--confirm={shop.database().url.name}@test"

    lines = ["db migrate", "db migrate", "db migrate --check", "db create-migration --check"]
    lines += ["db status", f"db rollback {target}", "db migrate", f"db reset {target}"]
    done = [await shop.manage(line) for line in lines]

    assert [0] * len(lines) == [one.exit_code for one in done], [one.stderr for one in done]
    assert done[0].stdout.endswith("applied 1 revision; the database is at a1\n")
    assert "nothing to do: the database is at a1 (head)\n" == done[1].stdout
    assert "rolled back from a1 to base" in done[5].stdout
    assert "dropped 2 objects, applied 1 revision" in done[7].stdout
    assert {"item"} == await shop.tables() - {"v"}


async def test_env_py_is_executed_once_for_all_revisions(shop: Shop) -> None:
    """Not for each of them."""
    file = shop.root / "calls.txt"
    shop.write("a2", "a1")
    env(shop).write_text(f"open({str(file)!r}, 'a').write('called ')\n{env(shop).read_text()}")

    done = await shop.manage("db migrate")

    assert (0, "called ") == (done.exit_code, file.read_text())


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


@pytest.mark.parametrize("line", ["db migrate", "db migrate --dry-run"])
@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ("import no_such_module", "models.py:1: ModuleNotFoundError: No module named"),
        ("x = 1\nx.upper()", "models.py:2: AttributeError: 'int' object has no"),
        ("raise SystemExit('no')", "models.py:1: SystemExit: no"),
    ],
)
async def test_models_that_cannot_be_imported_are_no_bug_of_the_command(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, models: str, problem: str, line: str
) -> None:
    """The error names the line in the models."""
    monkeypatch.syspath_prepend(str(shop.root))
    monkeypatch.chdir(shop.root)
    (shop.root / "broken_models.py").write_text(models)
    env(shop).write_text("import broken_models\n")

    done = await shop.manage(line)

    assert 78 == done.exit_code, done.stdout
    expected = f"error[project-broken]: migrations/env.py can't be run: broken_{problem}"
    assert expected in done.stderr
