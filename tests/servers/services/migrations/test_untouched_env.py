"""An application's own env.py runs as it is: with its own engine, in a thread of its own."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from tests.support.alembic_project import NO_MODELS, OWN_MODELS, alembic, replace, write_env
from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop


@pytest.fixture(params=["async on postgres", "async on sqlite", "generic on sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """Return a project with the env.py of `alembic init` and two revisions."""
    template, _, database = request.param.split()
    shop = Shop(tmp_path / "shop", request.getfixturevalue(f"{database}_url"))
    write_env(shop, template)
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("a2", "a1", INSERT_ONE)
    return shop


@pytest.fixture
def async_shop(tmp_path: Path, postgres_url: str) -> Shop:
    """Return a project on PostgreSQL with the async env.py of Alembic and one revision."""
    shop = Shop(tmp_path / "shop", postgres_url)
    write_env(shop, "async")
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    return shop


async def test_every_command_works_with_it(shop: Shop) -> None:
    """And the `alembic` command goes on working with the same database."""
    target = f"--confirm={shop.database().url.name}@test"
    lines = ["db migrate --dry-run", "db migrate", "db migrate", "db migrate --check", "db status"]
    lines += ["db create-migration --check", "db rollback --dry-run", f"db rollback {target}"]

    done = [await shop.manage(line) for line in lines]

    assert [0] * len(lines) == [one.exit_code for one in done], done[-1].stderr
    assert "CREATE TABLE item" in done[0].stdout
    assert done[1].stdout.endswith("applied 2 revisions; the database is at a2\n")
    assert "nothing to do: the database is at a2 (head)\n" == done[2].stdout
    assert "no drift" in done[4].stdout
    assert "a1" in alembic(shop, "current")
    alembic(shop, "upgrade", "head")
    assert 0 == (await shop.manage("db migrate --check")).exit_code


@pytest.mark.parametrize("template", ["generic", "async"])
async def test_the_application_may_use_psycopg(
    tmp_path: Path, postgres_url: str, template: str
) -> None:
    """Env.py connects with it, sync or async; the revisions run on the connection of the run."""
    shop = Shop(tmp_path / "shop", postgres_url)
    write_env(shop, template, driver="postgresql+psycopg")
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    target = f"--confirm={shop.database().url.name}@test"
    lines = ["db migrate --dry-run", "db migrate", "db migrate", "db migrate --check", "db status"]
    lines += ["db create-migration --check", f"db rollback {target}", "db create-migration -m x"]

    done = [await shop.manage(line) for line in lines[:-1]]
    shutil.rmtree(shop.versions)
    shop.versions.mkdir()
    done.append(await shop.manage(lines[-1]))

    assert [0] * len(lines) == [one.exit_code for one in done], done[-1].stderr
    assert "no drift" in done[4].stdout
    assert "\nwrote migrations/versions/" in done[7].stdout


async def test_a_dry_run_and_a_check_change_nothing(shop: Shop) -> None:
    """Alembic's version table is not created either."""
    for line in ("db migrate --dry-run", "db migrate --check", "db status"):
        await shop.manage(line)

    assert set() == await shop.tables()
    assert "alembic_version" not in alembic(shop, "current", "--verbose")


async def test_the_limits_and_the_lock_of_the_run_hold(async_shop: Shop) -> None:
    """The revisions run on the connection of the run, not on that of env.py."""
    settings = "current_setting('lock_timeout') AS l, current_setting('application_name') AS a"
    async_shop.write("a2", "a1", f'op.execute("CREATE TABLE found AS SELECT {settings}")')

    done = await async_shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    ((timeout, name),) = await async_shop.query("SELECT l, a FROM found")
    assert ("5s", True) == (timeout, name.startswith("oneoff/"))


async def test_an_index_can_be_built_concurrently(async_shop: Shop) -> None:
    """The connection of env.py has no open transaction meanwhile."""
    async_shop.write(
        "a2",
        "a1",
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("later", "item", ["id"], postgresql_concurrently=True)',
    )

    done = await async_shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr


async def test_a_failing_revision_is_rolled_back_and_env_py_ends(shop: Shop) -> None:
    """The error is that of the revision."""
    shop.write("a2", "a1", f"{INSERT_ONE}\nraise ValueError('wrong')")
    failed = await shop.manage("db migrate")

    assert 1 == failed.exit_code
    assert "error[migration-failed]: revision a2 (Revision a2) failed at" in failed.stderr
    assert ["a1"] == await shop.versions_applied()
    assert [] == await shop.query("SELECT name FROM item")


async def test_the_loggers_stay_as_they_are(shop: Shop) -> None:
    """The env.py of Alembic replaces all handlers, and switches other loggers off."""
    mine = logging.getLogger("shop.tests")
    before = logging.root.handlers[:], logging.root.level, mine.disabled

    done = await shop.manage("db migrate")

    assert (0, "") == (done.exit_code, done.stderr)
    assert before == (logging.root.handlers[:], logging.root.level, mine.disabled)


async def test_another_database_is_refused_before_anything_is_applied(
    async_shop: Shop, tmp_path: Path
) -> None:
    """Neither of the two databases gets a table."""
    write_env(async_shop, "async", f"sqlite:///{tmp_path}/other.sqlite3")
    async_shop.write("a1", None, CREATE_ITEM)

    refused = await async_shop.manage("db migrate")

    assert 78 == refused.exit_code
    assert "error[env-other-database]: migrations/env.py connects to another" in refused.stderr
    assert set() == await async_shop.tables()


async def test_another_schema_is_refused(async_shop: Shop) -> None:
    """The tables would be created elsewhere than env.py wants."""
    await async_shop.query("CREATE SCHEMA tenant")
    env = async_shop.root / "migrations/env.py"
    replace(
        env,
        "    context.configure(connection=connection",
        "    connection.exec_driver_sql('SET search_path TO tenant')\n"
        "    context.configure(connection=connection",
    )

    refused = await async_shop.manage("db migrate")

    assert 78 == refused.exit_code, refused.stderr
    assert "creates tables in the schema tenant, and that of the run in public" in refused.stderr
    assert set() == await async_shop.tables()


async def test_what_env_py_does_before_the_migrations_is_visible_to_them(async_shop: Shop) -> None:
    """It makes the schema of the version table. In a dry run it must not write."""
    env = async_shop.root / "migrations/env.py"
    replace(
        env,
        "connection=connection, target_metadata=target_metadata)",
        'connection=connection, target_metadata=target_metadata, version_table_schema="crm")\n'
        '    context.execute("CREATE SCHEMA IF NOT EXISTS crm")',
    )

    dry = await async_shop.manage("db migrate --dry-run")
    nothing = await async_shop.query("SELECT 1 FROM pg_namespace WHERE nspname = 'crm'")
    done = await async_shop.manage("db migrate")

    assert (1, []) == (dry.exit_code, nothing), dry.stderr
    assert 0 == done.exit_code, done.stderr
    assert [("a1",)] == await async_shop.query("SELECT version_num FROM crm.alembic_version")


async def test_the_folders_of_the_revisions_are_those_of_the_configuration(shop: Shop) -> None:
    """Beside `versions`, which is then not read unless it is named too."""
    more = shop.root / "more"
    more.mkdir()
    shop.write("a3", "a2")
    shutil.move(shop.versions / "a3.py", more)
    ini = shop.root / "alembic.ini"
    replace(ini, "[alembic]\n", "[alembic]\nversion_locations = migrations/versions:more\n")
    replace(ini, "path_separator = os", "path_separator = :")

    done = await shop.manage("db migrate")

    assert done.stdout.endswith("applied 3 revisions; the database is at a3\n"), done.stderr


async def test_an_env_py_without_models_migrates_and_compares_nothing(async_shop: Shop) -> None:
    """It is what `alembic init` writes, for revisions that are written by hand."""
    replace(async_shop.root / "migrations/env.py", OWN_MODELS, NO_MODELS)

    done = await async_shop.manage("db migrate")
    status = await async_shop.manage("db status --json")
    checked = await async_shop.manage("db create-migration --check")

    assert (0, 0, 78) == (done.exit_code, status.exit_code, checked.exit_code), status.stderr
    assert "drift not checked because env.py has no target_metadata" in status.json["message"]
    assert "error[no-models]: migrations/env.py passes no models to compare with" in checked.stderr
