"""`db restore`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from oneoff.testing import Finished
from tests.support import kinds
from tests.support.backups import (
    backed_up,
    migrated,
    only_programs,
    read_manifest,
    rows,
    target,
)
from tests.support.database import query
from tests.support.servers import Postgres
from tests.support.shop import Shop

EFFECT = (
    "INSERT INTO oneoff_outbox (batch_id, kind, payload, created_at)"
    " VALUES ('b', 'mail', '{}', '2026-01-01 00:00:00+00')"
)
INPUT = (
    "INSERT INTO oneoff_shell_inputs (run_id, number, at, source)"
    " VALUES ('{run}', 1, '2026-01-01 00:00:00+00', 'users')"
)
POOR = "CREATE ROLE poor LOGIN PASSWORD 'p@ss%word'"


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with two revisions, both applied."""
    return await migrated(Shop(tmp_path / "shop", database_url))


@pytest.fixture
async def postgres_shop(tmp_path: Path, postgres_url: str) -> Shop:
    """Return the same on PostgreSQL."""
    return await migrated(Shop(tmp_path / "shop", postgres_url))


@pytest.fixture
def poor_url(postgres_server: Postgres, postgres_database: str) -> str:
    """Return the URL of a database whose owner may not create databases."""
    if not postgres_server.psql("SELECT 1 FROM pg_roles WHERE rolname = 'poor'"):
        postgres_server.psql(POOR)
    postgres_server.psql(f'ALTER DATABASE "{postgres_database}" OWNER TO poor')
    return postgres_server.url(postgres_database).replace("//oneoff:", "//poor:")


@pytest.fixture(params=["sqlite", "postgres", "poor"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Run the test for each way to restore: by a copy, by a new database, and in place."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def rows_as_text(shop: Shop) -> list[tuple[Any, ...]]:
    """Return the rows of the table with all types, as the database writes them."""
    sql = "SELECT * FROM kinds" if shop.url.startswith("sqlite") else "SELECT k::text FROM kinds k"
    found = query(shop.url, sql)
    assert len(found) > 3
    return found


async def restored(shop: Shop, file: Path, flags: str = "") -> Finished:
    """Restore a backup."""
    done = await shop.manage(f"db restore {file} {flags} {target(shop)}")
    assert 0 == done.exit_code, done.stderr
    return done


async def test_the_database_is_as_it_was(tmp_path: Path, any_url: str) -> None:
    """Rows, and tables that were created or dropped. The record has the runs after the backup."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    file = await backed_up(shop, tmp_path / "shop.dump")
    before = rows(shop)
    shop.write(
        "a3",
        "a2",
        'op.create_table("note", sa.Column("id", sa.Integer, primary_key=True),'
        ' sa.Column("item", sa.Integer, sa.ForeignKey("item.id")))\nop.execute("DELETE FROM item")',
    )
    await shop.manage("db migrate")

    await restored(shop, file)

    assert before == rows(shop)
    commands = ["db migrate", "db backup", "db migrate", "db restore"]
    assert [(command, "succeeded") for command in commands] == await shop.query(
        "SELECT command, status FROM oneoff_runs ORDER BY started_at, id"
    )
    assert 0 == (await shop.manage("audit verify")).exit_code
    assert 0 == (await shop.manage("db migrate")).exit_code


async def test_an_older_backup_of_the_same_database_can_be_restored_after_that(
    tmp_path: Path, any_url: str
) -> None:
    """Although a database that was swapped has another identity. It is no copy of itself."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    first = await backed_up(shop, tmp_path / "first.dump")
    await shop.query("DELETE FROM item")
    second = await backed_up(shop, tmp_path / "second.dump")

    await restored(shop, second)
    empty = await shop.query("SELECT name FROM item")
    done = await restored(shop, first)

    assert ([], [("one",)]) == (empty, await shop.query("SELECT name FROM item"))
    about = await shop.manage("system environment --json")
    assert ("test", False) == (about.json["data"]["stored"], about.json["data"]["copy"])
    assert "copy" not in done.stderr


async def test_a_dry_run_says_what_the_file_is(tmp_path: Path, any_url: str) -> None:
    """And what it would replace. It changes nothing."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    file = await backed_up(shop, tmp_path / "shop.dump")
    shop.write("a3", "a2", 'op.execute("DELETE FROM item")')
    await shop.manage("db migrate")

    shown = await shop.manage(f"db restore {file} --dry-run")

    assert 0 == shown.exit_code, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    kept = "is not kept" if "//poor:" in any_url else "is kept"
    assert {"environment test test", "revision a3 a2", f"old content {kept} -"} < {*lines}
    assert [] == await shop.query("SELECT * FROM item")


async def test_the_old_database_is_kept(postgres_shop: Shop, tmp_path: Path) -> None:
    """Under the name that the message says."""
    file = await backed_up(postgres_shop, tmp_path / "shop.dump")
    await postgres_shop.query("DELETE FROM item")

    done = await restored(postgres_shop, file)

    kept = done.stdout.split()[-1]
    assert kept.startswith(f"{postgres_shop.database().url.database}_before_2")
    url = postgres_shop.url.rpartition("/")[0]
    assert [] == query(f"{url}/{kept}", "SELECT * FROM item")


async def test_the_old_file_is_kept(sqlite_shop: Shop, tmp_path: Path) -> None:
    """Beside the restored one."""
    shop = await migrated(sqlite_shop)
    file = await backed_up(shop, tmp_path / "backup.sqlite3")
    await shop.query("DELETE FROM item")

    done = await restored(shop, file)

    assert [] == query(f"sqlite:///{done.stdout.split()[-1]}", "SELECT * FROM item")


async def test_the_new_database_has_the_properties_of_the_old_one(
    postgres_shop: Shop, tmp_path: Path
) -> None:
    """A dump of one database does not contain them."""
    name = postgres_shop.database().url.database
    for statement in (
        f"ALTER DATABASE {name} SET search_path = '$user', public, crm",
        f"ALTER DATABASE {name} SET statement_timeout = '3h'",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO pg_monitor WITH GRANT OPTION",
        f"ALTER DATABASE {name} CONNECTION LIMIT 77",
    ):
        await postgres_shop.query(statement)
    properties = (
        "SELECT datacl::text, datconnlimit, datdba, datcollate, setconfig FROM pg_database "
        "JOIN pg_db_role_setting ON setdatabase = pg_database.oid "
        "WHERE datname = current_database()"
    )
    before = await postgres_shop.query(properties)
    file = await backed_up(postgres_shop, tmp_path / "shop.dump")

    await restored(postgres_shop, file)

    assert before == await postgres_shop.query(properties)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_every_type_of_column_is_restored_exactly(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, postgres_server: Postgres
) -> None:
    """Into a new, empty database. It is a copy until `migrate` stores its environment."""
    shop = await migrated(Shop(tmp_path / "shop", request.getfixturevalue(f"{kind}_url")))
    if kind == "sqlite":
        copy = Shop(tmp_path / "copy", f"sqlite:///{tmp_path}/copy.sqlite3")
        for statement in kinds.SQLITE.split(";\n"):
            await shop.query(statement) if statement.strip() else None
    else:
        postgres_server.psql(kinds.POSTGRESQL, shop.database().url.database)
        other = request.getfixturevalue("other_database")
        copy = Shop(tmp_path / "copy", postgres_server.url(other))
    shutil.copytree(shop.versions, copy.versions, dirs_exist_ok=True)
    file = await backed_up(shop, tmp_path / "shop.dump")

    # A first attempt is refused and recorded; the history of the backup is continued all the same.
    refused = await copy.manage(f"db restore {file} {target(copy)}")
    await restored(copy, file, "--from-copy")

    assert "foreign-backup" in refused.stderr
    assert 0 == (await copy.manage("audit verify")).exit_code
    runs = await copy.query(
        "SELECT command FROM oneoff_runs WHERE status <> 'refused' ORDER BY started_at, id"
    )
    assert ["db migrate", "db backup", "db restore", "audit verify"] == [name for (name,) in runs]
    assert rows_as_text(shop) == rows_as_text(copy)
    about = await copy.manage("system environment --json")
    assert ("test", True) == (about.json["data"]["stored"], about.json["data"]["copy"])


async def test_a_database_with_a_record_of_its_own_keeps_it_as_a_copy(
    sqlite_shop: Shop, tmp_path: Path
) -> None:
    """Two chains of events can't be merged."""
    file = await backed_up(await migrated(sqlite_shop), tmp_path / "shop.dump")
    copy = await migrated(Shop(tmp_path / "copy", f"sqlite:///{tmp_path}/copy.sqlite3"))

    await restored(copy, file, "--from-copy")

    assert 0 == (await copy.manage("audit verify")).exit_code
    runs = await copy.query("SELECT command FROM oneoff_runs ORDER BY started_at, id")
    assert ["db migrate", "db restore", "audit verify"] == [name for (name,) in runs]


@pytest.mark.parametrize(
    ("of_backup", "here", "stored"),
    [
        ("development", "production", ("production", False)),
        ("production", "staging", ("production", True)),
    ],
)
async def test_production_stays_production_whatever_is_restored_into_it(
    tmp_path: Path, any_url: str, of_backup: str, here: str, stored: tuple[str, bool]
) -> None:
    """And a database that gets the content of production is protected like it."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    environ = {"ENVIRONMENT": of_backup}
    done = await shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)
    assert 0 == done.exit_code, done.stderr
    other = read_manifest(tmp_path / "shop.dump") | {"identity": "1/1", "run": "other"}
    (tmp_path / "shop.dump.json").write_text(json.dumps(other))
    await shop.query(f"UPDATE oneoff_environment SET environment = '{here}'")

    confirmed = f"{target(shop, here)} --break-glass x --no-backup x"
    done = await shop.manage(f"db restore {tmp_path}/shop.dump --from-copy {confirmed}")

    assert 0 == done.exit_code, done.stderr
    about = await shop.manage("system environment --json")
    assert stored == (about.json["data"]["stored"], about.json["data"]["copy"])


@pytest.fixture
def other_database(postgres_server: Postgres) -> Iterator[str]:
    """Return the name of a second empty PostgreSQL database."""
    with postgres_server.database() as name:
        yield name


@pytest.mark.parametrize("url", ["postgres_url", "poor_url"])
async def test_others_who_use_the_database_are_asked_for(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Their sessions are ended only with an option."""
    shop = await migrated(Shop(tmp_path / "shop", request.getfixturevalue(url)))
    file = await backed_up(shop, tmp_path / "shop.dump")
    other = await asyncpg.connect(shop.url, server_settings={"application_name": "web"})

    dry = await shop.manage(f"db restore {file} --dry-run")
    refused = await shop.manage(f"db restore {file} {target(shop)}")
    still_open = not other.is_closed()
    await restored(shop, file, "--end-sessions")

    assert (75, True) == (refused.exit_code, still_open)
    assert "web" in refused.stderr
    assert (0, True) == (dry.exit_code, "a real run would be refused" in dry.stderr)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await other.fetch("SELECT 1")


async def test_a_restore_in_place_that_fails_changes_nothing(
    tmp_path: Path, poor_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here pg_restore is killed in the middle of its script."""
    shop = await migrated(Shop(tmp_path / "shop", poor_url))
    file = await backed_up(shop, tmp_path / "shop.dump")
    before = rows(shop)
    real = shutil.which("pg_restore")
    script = f'case "$*" in *--file*) {real} "$@" | head -c 3000; kill -KILL $$; esac\n'
    environ = only_programs(
        monkeypatch,
        tmp_path / "bin",
        pg_restore=f'{script}exec {real} "$@"',
        psql=f'exec {shutil.which("psql")} "$@"',
    )

    failed = await shop.manage(f"db restore {file} {target(shop)}", environ=environ)

    assert 1 == failed.exit_code
    assert "pg_restore was ended by SIGKILL" in failed.stderr
    assert before == rows(shop)


async def test_a_database_with_settings_of_a_superuser_is_restored_in_place(
    postgres_server: Postgres, tmp_path: Path, poor_url: str
) -> None:
    """A new database would not have them, although the user may create it."""
    postgres_server.psql("ALTER ROLE poor CREATEDB")
    shop = await migrated(Shop(tmp_path / "shop", poor_url))
    name = shop.database().url.database
    postgres_server.psql(f"ALTER DATABASE {name} SET log_min_error_statement = 'panic'")
    file = await backed_up(shop, tmp_path / "shop.dump")

    done = await restored(shop, file)
    postgres_server.psql("ALTER ROLE poor NOCREATEDB")

    assert "the old content is not kept" in done.stdout
    assert [("panic",)] == await shop.query("SHOW log_min_error_statement")


async def test_a_restore_into_a_new_database_that_fails_leaves_none(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old database is as it was. What a killed run had left is removed."""
    await postgres_shop.query("CREATE DATABASE oneoff_scratch_dead")
    file = await backed_up(postgres_shop, tmp_path / "shop.dump")
    before = rows(postgres_shop)
    script = f'case "$*" in *dbname*) exit 3; esac\nexec {shutil.which("pg_restore")} "$@"'
    environ = only_programs(monkeypatch, tmp_path / "bin", pg_restore=script)

    failed = await postgres_shop.manage(
        f"db restore {file} {target(postgres_shop)}", environ=environ
    )

    assert "pg_restore failed with exit code 3" in failed.stderr
    assert before == rows(postgres_shop)
    assert [] == await postgres_shop.query(
        "SELECT datname FROM pg_database WHERE datname LIKE 'oneoff\\_scratch\\_%'"
    )


async def test_effects_come_from_the_backup_and_inputs_of_shells_stay(
    tmp_path: Path, any_url: str
) -> None:
    """Their numbers go on after the highest one."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    await shop.query(EFFECT)
    await shop.query(INPUT.format(run="old"))
    file = await backed_up(shop, tmp_path / "shop.dump")
    await shop.query(EFFECT)
    await shop.query("UPDATE oneoff_outbox SET attempts = 9")
    await shop.query(INPUT.format(run="new"))

    await restored(shop, file)
    await shop.query(EFFECT)
    await shop.query(INPUT.format(run="next"))

    assert [(1, 0), (2, 0)] == await shop.query("SELECT id, attempts FROM oneoff_outbox")
    assert [("old",), ("new",), ("next",)] == await shop.query(
        "SELECT run_id FROM oneoff_shell_inputs ORDER BY id"
    )


async def test_an_approval_that_was_used_after_the_backup_stays_used(
    tmp_path: Path, any_url: str
) -> None:
    """Otherwise a restore would let it start another run."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    file = await backed_up(shop, tmp_path / "shop.dump")
    used = "INSERT INTO oneoff_approval_uses VALUES ('a', 'a', 'r', '2026-01-01 00:00:00+00')"
    await shop.query(used)

    await restored(shop, file)

    assert [("a", "r")] == await shop.query("SELECT key, run_id FROM oneoff_approval_uses")


async def test_a_maintenance_window_stays_as_it_is(tmp_path: Path, any_url: str) -> None:
    """The backup was made before it was opened."""
    shop = await migrated(Shop(tmp_path / "shop", any_url))
    file = await backed_up(shop, tmp_path / "shop.dump")
    await shop.manage("system maintenance on --confirm")

    await restored(shop, file)

    assert [(None,)] == await shop.query("SELECT ended_at FROM oneoff_maintenance")
