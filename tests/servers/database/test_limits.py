"""The limits of a run hold in the transactions of its work, and cost no message."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest
from sqlalchemy.exc import DBAPIError

from commands.user.create import Create
from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import Unavailable
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error
from oneoff.database.limits import Limits
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.servers import PgBouncer, Postgres
from tests.support.shop import Shop
from tests.support.tally_project import NAME, ROOT, execute, make_tally

ROW = "user create ada ada@example.com --generate-password"
LIMITS = "--statement-timeout 7s --lock-timeout 8s --idle-timeout 9s"
WATCH = """
CREATE TABLE seen (statement text, lock text, idle text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen VALUES (current_setting('statement_timeout'), current_setting('lock_timeout'),
                           current_setting('idle_in_transaction_session_timeout'));
  RETURN NULL;
END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION see();
"""
SEEN = "SELECT DISTINCT statement, lock, idle FROM seen"


@pytest.fixture
def name(postgres_server: Postgres, migrated_postgres: str) -> Iterator[str]:
    """Return the name of a migrated database that notes the limits of each new user."""
    with postgres_server.database(migrated_postgres) as name:
        execute(postgres_server.url(name), WATCH.format(table="users"))
        yield name


async def test_options_limit_the_transaction_of_the_work(
    name: str, postgres_server: Postgres, manage_project: tuple[str, str]
) -> None:
    """The record of the run has no limits: its connection may be idle for long."""
    url = postgres_server.url(name)
    execute(url, WATCH.format(table="oneoff_runs").partition(";\n")[2].partition("END $$;")[2])
    manage = Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})

    done = await manage(f"{ROW} {LIMITS}")

    assert 0 == done.exit_code, done.stderr
    # The row of the run is inserted without limits, and closed in the transaction of the work.
    assert {("7s", "8s", "9s"), ("0", "0", "0")} == set(query(url, SEEN))


async def test_a_class_declares_limits_and_an_option_replaces_one(
    name: str,
    postgres_server: Postgres,
    manage_project: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0 is no limit."""
    url = postgres_server.url(name)
    execute(url, "ALTER ROLE CURRENT_USER SET statement_timeout = '60s'")
    monkeypatch.setattr(Create, "statement_timeout", 0)
    monkeypatch.setattr(Create, "lock_timeout", 2.5)
    manage = Manage(*manage_project, {"DATABASE_URL": url, "ENVIRONMENT": "test"})
    try:
        done = await manage(f"{ROW} --lock-timeout 100ms")
    finally:
        execute(url, "ALTER ROLE CURRENT_USER RESET statement_timeout")

    assert 0 == done.exit_code, done.stderr
    assert [("0", "100ms", "0")] == query(url, SEEN)


async def test_batches_are_limited_behind_a_pooler(
    postgres_server: Postgres, pgbouncer: PgBouncer, migrated_postgres: str
) -> None:
    """Each transaction sets the limits, so it does not matter which server process it reaches."""
    with postgres_server.database(migrated_postgres) as name:
        url = postgres_server.url(name)
        make_tally(url, 300)
        execute(url, WATCH.format(table="tally"))
        environ = {"DATABASE_URL": pgbouncer.url(name), "ENVIRONMENT": "test"}
        done = await Manage(NAME, str(ROOT), environ)(f"tally add --confirm {LIMITS}")

        assert (0, 300) == (done.exit_code, done.rows), done.stderr
        assert [("7s", "8s", "9s")] == query(url, SEEN)


async def test_a_revision_is_stopped_by_the_limit_of_a_statement(postgres_shop: Shop) -> None:
    """It is rolled back."""
    postgres_shop.write("a1", None, 'op.execute("SELECT pg_sleep(60)")')

    failed = await postgres_shop.manage("db migrate --statement-timeout 50ms")

    assert 1 == failed.exit_code
    assert "due to statement timeout (SQLSTATE 57014)\n" in failed.stderr
    assert "why:  it was rolled back\n" in failed.stderr


async def test_an_option_without_effect_on_sqlite_is_refused(sqlite_shop: Shop) -> None:
    """Each of them is named. The limits that a class declares are for PostgreSQL."""
    refused = await sqlite_shop.manage("db migrate --lock-timeout 1s --idle-timeout 1s")

    assert 2 == refused.exit_code
    assert "--lock-timeout has no effect on sqlite" in refused.stderr
    assert "--idle-timeout has no effect on sqlite" in refused.stderr


async def test_a_session_that_was_ended_because_it_was_idle_is_a_lost_connection(
    postgres_url: str, postgres_server: Postgres
) -> None:
    """The server has rolled back."""
    url = parse_database_url(postgres_url, ROOT, "shop")
    database = Database(url, run_id="idle", limits=Limits(idle_timeout=0.02))
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oneoff/work/idle'"
    async with database.connect() as connection:
        await connection.exec_driver_sql("SELECT 1")
        deadline = monotonic() + 30
        while "0" != postgres_server.psql(gone).strip():
            assert monotonic() < deadline, "the session did not end"
        with pytest.raises(DBAPIError) as raised:
            await connection.exec_driver_sql("SELECT 1")
    await database.dispose()

    assert isinstance(translate_error(raised.value), Unavailable)
