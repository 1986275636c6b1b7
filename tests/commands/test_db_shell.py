"""`db shell`: the options of the database's client, and its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.services.shell.database_client import Client
from tests.support.database import query

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser
    from tests.support.servers import Postgres

POSTGRES = parse_database_url(
    "postgres://ada:p%40ss-word@db.example:5433/shop?sslmode=require&options=-c%20a%3Db",
    Path(),
    "shop",
)
SQLITE = parse_database_url("sqlite:////data/shop.sqlite3", Path(), "shop")
PRODUCTION = {"ENVIRONMENT": "production"}


def test_the_password_is_in_the_environment_and_never_in_an_argument() -> None:
    """Other users can see arguments."""
    client = Client(POSTGRES, sql="SELECT 1")

    assert not any("p@ss-word" in argument for argument in client.arguments())
    assert {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGUSER": "ada",
        "PGPASSWORD": "p@ss-word",
        "PGDATABASE": "shop",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c a=b",
    } == client.environ({})


def test_read_only_is_an_option_of_the_connection() -> None:
    """It is added to the options of the URL."""
    environ = Client(POSTGRES, read_only=True).environ({})

    assert "-c a=b -c default_transaction_read_only=on" == environ["PGOPTIONS"]


def test_a_script_stops_at_the_first_error_and_ignores_psqlrc() -> None:
    """At a terminal, psql uses the user's settings."""
    assert ["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--no-password"] == Client(POSTGRES).arguments()
    assert [] == Client(POSTGRES, interactive=True).arguments()


def test_sqlite_behaves_as_the_application_does() -> None:
    """Foreign keys are checked, and a writer waits for another one."""
    setup = ["-cmd", ".timeout 10000", "-cmd", "PRAGMA foreign_keys=ON"]

    assert [*setup, "/data/shop.sqlite3"] == Client(SQLITE, interactive=True).arguments()
    assert [*setup, "-readonly", "-batch", "-bail", "/data/shop.sqlite3", "SELECT 1"] == Client(
        SQLITE, read_only=True, sql="SELECT 1"
    ).arguments()


@pytest.mark.parametrize("name", ["db shell", "dbshell"])
async def test_a_statement_runs_and_its_output_is_shown(
    manage: Manage, make_user: MakeUser, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """Under Django's name `dbshell` too."""
    await make_user("ada")

    outcome = await manage([*name.split(), "-c", "SELECT email FROM users"])

    assert 0 == outcome.exit_code, outcome.stderr
    assert "ada@example.com\n" in capfd.readouterr().out


@pytest.mark.parametrize(
    "sql", ["ALTER ROLE x PASSWORD 's3cret'", "INSERT INTO api_keys (token) VALUES ('s3cret')"]
)
async def test_a_secret_in_a_statement_is_neither_recorded_nor_repeated(
    manage: Manage, manage_environ: dict[str, str], sql: str
) -> None:
    """The record names the statement, and the advice of an error repeats the command line."""
    for options in ([], ["--write", "--confirm=nothing@nowhere"]):
        outcome = await manage(["db", "shell", "-c", sql, *options])
        assert 0 != outcome.exit_code
        assert "s3cret" not in outcome.stdout + outcome.stderr

    url = manage_environ["DATABASE_URL"]
    rows = repr([query(url, f"SELECT * FROM oneoff_{name}") for name in ("runs", "audit")])
    assert sql.split("'", maxsplit=1)[0] in rows
    assert "s3cret" not in rows


async def test_outside_production_it_can_write(manage: Manage, make_user: MakeUser) -> None:
    """A development database needs no protection."""
    await make_user("ada")

    outcome = await manage(["db", "shell", "-c", "DELETE FROM users"])

    assert 0 == outcome.exit_code, outcome.stderr
    assert [] == (await manage("user list")).result.data


async def test_in_production_it_is_read_only(
    manage: Manage, make_user: MakeUser, capfd: pytest.CaptureFixture[str]
) -> None:
    """The database refuses the statement, and the run fails because the client failed."""
    await make_user("ada")

    outcome = await manage(["db", "shell", "-c", "DELETE FROM users"], environ=PRODUCTION)

    assert 1 == outcome.exit_code
    assert "error[client-failed]: " in outcome.stderr
    assert "read" in capfd.readouterr().err
    assert 1 == len((await manage("user list")).result.data)


async def test_writing_in_production_needs_confirmation(
    manage: Manage, make_user: MakeUser
) -> None:
    """It works when it is confirmed."""
    await make_user("ada")
    line = ["db", "shell", "--write", "-c", "DELETE FROM users"]

    refused = await manage(line, environ=PRODUCTION)
    confirmed = await manage([*line, "--confirm"], environ=PRODUCTION)

    assert (77, 0) == (refused.exit_code, confirmed.exit_code), confirmed.stderr
    assert [] == (await manage("user list")).result.data


async def test_outside_production_write_needs_no_confirmation(manage: Manage) -> None:
    """Writing is the default there."""
    outcome = await manage("db shell --write -c 'SELECT 1'")

    assert 0 == outcome.exit_code, outcome.stderr


async def test_the_error_for_a_missing_client_says_what_to_install(
    manage: Manage, tmp_path: Path
) -> None:
    """The exit code is 78."""
    outcome = await manage("db shell -c 'SELECT 1'", environ={"PATH": str(tmp_path)})

    assert 78 == outcome.exit_code
    assert "is not installed, or not on PATH\n  try:  apt-get install " in outcome.stderr


def test_inherited_variables_can_not_lead_psql_elsewhere() -> None:
    """PGSERVICE wins over PGHOST, and PGHOSTADDR over the host."""
    inherited = {
        "PATH": "/bin",
        "PGSERVICE": "prod",
        "PGHOSTADDR": "10.0.0.9",
        "PGOPTIONS": "-c search_path=other",
        "PGTARGETSESSIONATTRS": "standby",
        "PGHOST": "other.example",
    }

    environ = Client(parse_database_url("postgres://db.example/shop", Path(), "shop")).environ(
        inherited
    )

    assert {"PATH": "/bin", "PGHOST": "db.example", "PGDATABASE": "shop"} == environ


async def test_it_refuses_a_direct_url_of_another_database(
    manage: Manage, postgres_server: Postgres, manage_environ: dict[str, str]
) -> None:
    """What was checked and recorded is the database that the client opens."""
    if manage_environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("there is no pooler for SQLite")
    with postgres_server.database() as other:
        outcome = await manage(
            "db shell -c 'CREATE TABLE stray (id int)'",
            environ={"MIGRATION_DATABASE_URL": postgres_server.url(other)},
        )

    assert "error[migration-url-mismatch]" in outcome.stderr
    assert 78 == outcome.exit_code


async def test_it_connects_to_the_direct_url(
    manage: Manage, manage_environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A pooler could not keep the session read-only."""
    direct = manage_environ["DATABASE_URL"]
    if direct.startswith("sqlite"):
        pytest.skip("there is no pooler for SQLite")

    outcome = await manage(
        "db shell -c 'SHOW work_mem'",
        environ={"MIGRATION_DATABASE_URL": f"{direct}?options=-c%20work_mem%3D99kB"},
    )

    assert 0 == outcome.exit_code, outcome.stderr
    assert "99kB" in capfd.readouterr().out


async def test_the_run_is_recorded(manage: Manage) -> None:
    """With its operator."""
    await manage("db shell -c 'SELECT 1'")

    listed = await manage("audit list --command 'db shell'")
    assert [("unchanged", "tester")] == [
        (row["status"], row["operator"]) for row in listed.result.data
    ]
