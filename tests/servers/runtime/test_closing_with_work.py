"""The transaction of the work closes the record of its run."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.database.tables import runs
from oneoff.testing import Manage
from tests.servers.runtime.audit.test_abandoned import insert_open_run, status
from tests.support.database import query
from tests.support.fixture_types import MakeUser, Sessions


async def test_work_that_fails_at_its_commit_is_recorded_as_failed(
    manage: Manage, manage_environ: dict[str, str]
) -> None:
    """The closed row is rolled back together with the work."""
    for sql in (
        "CREATE TABLE parent (id integer PRIMARY KEY)",
        "CREATE TABLE child (id integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    ):
        done = await manage(["shell", "--write", "--confirm", "-c", run_sql(sql)])
        assert 0 == done.exit_code, done.stderr

    sql = "INSERT INTO child VALUES (1)"
    failed = await manage(["shell", "--write", "--confirm", "-c", run_sql(sql)])

    last = "SELECT status, exit_code FROM oneoff_runs ORDER BY started_at DESC LIMIT 1"
    assert 1 == failed.exit_code
    assert [("failed", 1)] == query(manage_environ["DATABASE_URL"], last)
    assert [(0,)] == query(manage_environ["DATABASE_URL"], "SELECT count(*) FROM child")


async def test_work_that_changes_its_search_path_is_recorded(
    manage: Manage, manage_environ: dict[str, str]
) -> None:
    """The statement that closes the row names the schema of the table."""
    if manage_environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("SQLite has no search path")
    sql = "CREATE SCHEMA tenant; SET search_path TO tenant; CREATE TABLE kept (n integer)"
    code = "; ".join(run_sql(part) for part in sql.split("; "))

    done = await manage(["shell", "--write", "--confirm", "-c", code])

    assert 0 == done.exit_code, done.stderr
    sql = "SELECT status FROM oneoff_runs WHERE command = 'shell'"
    assert [("succeeded",)] == query(manage_environ["DATABASE_URL"], sql)
    assert [(0,)] == query(manage_environ["DATABASE_URL"], "SELECT count(*) FROM tenant.kept")


async def test_a_record_that_an_open_transaction_has_closed_is_left_to_it(
    sessions: Sessions, make_user: MakeUser, manage_environ: dict[str, str]
) -> None:
    """If a process dies during COMMIT, its transaction may stay open in the server for a while."""
    if manage_environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("an open transaction that writes would stop the other run")
    await insert_open_run(sessions, host="another-machine", pid=1, seconds=60)
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="open-run")
    async with database.connect() as connection:
        await connection.execute(
            update(runs).where(runs.c.id == "open-run").values(status="succeeded")
        )

        await make_user("ada")
        before = await status(sessions)
        await connection.commit()

    assert ("started", False) == before
    assert ("succeeded", False) == await status(sessions)
    await database.dispose()


def run_sql(sql: str) -> str:
    """Return code for the shell that runs a statement."""
    return f"await session.execute(text({sql!r}))"
