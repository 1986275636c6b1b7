"""Connections have names and inherit nothing; failures to connect are explained."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from oneoff.config.database_url import DatabaseURL, parse_database_url
from oneoff.core.errors import CommandError, ConfigurationError, Unavailable
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error
from oneoff.database.transaction import begin_work
from tests.support.servers import Postgres

WRONG = "hunter2"
RUN_ID = "20261121T072800-ab12cd34ef"
DIES_AT_COMMIT = [
    "CREATE TABLE things (id int)",
    """
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER die AFTER INSERT ON things
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()
    """,
]


def make_database(url: str | DatabaseURL) -> Database:
    """Return the database of one run."""
    if isinstance(url, str):
        url = parse_database_url(url, Path(), "shop")
    return Database(url, run_id=RUN_ID)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database."""
    database = make_database(database_url)
    yield database
    await database.dispose()


async def scalar(database: Database, sql: str) -> object:
    """Run one statement on a new connection and return its value."""
    async with database.connect() as connection:
        return (await connection.exec_driver_sql(sql)).scalar_one()


async def test_uncommitted_work_is_rolled_back(database: Database) -> None:
    """Leaving the block rolls it back."""
    async with database.connect() as connection:
        await connection.exec_driver_sql("CREATE TABLE things (id int)")
        await connection.commit()
        await connection.exec_driver_sql("INSERT INTO things VALUES (1)")

    assert 0 == await scalar(database, "SELECT count(*) FROM things")


async def test_autocommit_commits_each_statement(database: Database) -> None:
    """No commit is needed."""
    async with database.autocommit() as connection:
        await connection.exec_driver_sql("CREATE TABLE things (id int)")
        await connection.exec_driver_sql("INSERT INTO things VALUES (1)")

    assert 1 == await scalar(database, "SELECT count(*) FROM things")


async def test_errors_hide_the_parameters(database: Database) -> None:
    """A customer's data must not appear in a log."""
    async with database.connect() as connection:
        with pytest.raises(Exception, match="nowhere") as caught:
            await connection.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": "hunter2"})

    assert "hunter2" not in str(caught.value)


def test_importing_the_module_loads_neither_sqlalchemy_nor_a_driver() -> None:
    """A command that needs no database doesn't pay for one."""
    code = (
        "import sys, oneoff.config.database_url, oneoff.database.engine, oneoff.database.errors;"
        "print([n for n in ('sqlalchemy', 'asyncpg', 'aiosqlite', 'sqlite3') if n in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout


def test_a_real_run_loads_no_guard(sqlite_url: str) -> None:
    """Only dry runs and read-only runs pay for the guards."""
    code = f"""
import asyncio, sys
from tests.servers.database.test_connect import Mode, begin_work, make_database
async def main():
    async with begin_work(make_database({sqlite_url!r}), Mode.COMMIT) as work:
        await work.commit()
asyncio.run(main())
print([n for n in sys.modules if n.startswith(("oneoff.database.guards", "oneoff.redis.other"))])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout


class TestPostgreSQL:
    """Connections to servers."""

    async def test_a_connection_is_named_after_its_role_and_its_run(
        self, postgres_url: str
    ) -> None:
        """`pg_stat_activity` shows both."""
        database = make_database(postgres_url)

        async with database.connect("audit") as connection:
            name = (await connection.exec_driver_sql("SHOW application_name")).scalar_one()

        assert f"oneoff/audit/{RUN_ID}" == name

    async def test_a_long_role_is_shortened_and_the_run_id_is_not(self, postgres_url: str) -> None:
        """The server keeps 63 bytes of a name."""
        database = make_database(postgres_url)

        async with database.connect("müll" * 20) as connection:
            name = (await connection.exec_driver_sql("SHOW application_name")).scalar_one()

        assert name.startswith("oneoff/m?ll")
        assert name.endswith(f"/{RUN_ID}")

    async def test_the_password_and_sslmode_of_a_url_are_understood(
        self, postgres_url: str
    ) -> None:
        """A URL works as platforms write it."""
        database = make_database(f"{postgres_url}?sslmode=prefer&channel_binding=prefer")

        assert 1 == await scalar(database, "SELECT 1")

    async def test_a_wrong_password_is_a_configuration_error(self, postgres_url: str) -> None:
        """A retry doesn't help, and the message doesn't show the password."""
        url = parse_database_url(postgres_url, Path(), "")._replace(password=WRONG)

        with pytest.raises(
            ConfigurationError, match="password for user 'oneoff' is wrong"
        ) as error:
            await scalar(make_database(url), "SELECT 1")

        assert WRONG not in str(error.value)

    async def test_an_unknown_database_is_a_configuration_error(self, postgres_url: str) -> None:
        """The message names the database."""
        url = parse_database_url(postgres_url, Path(), "")._replace(database="nowhere")

        with pytest.raises(ConfigurationError, match="there is no database 'nowhere'"):
            await scalar(make_database(url), "SELECT 1")

    async def test_a_server_without_tls_is_a_configuration_error(self, postgres_url: str) -> None:
        """The advice contains the setting to use."""
        with pytest.raises(ConfigurationError, match="over TLS") as error:
            await scalar(make_database(f"{postgres_url}?sslmode=require"), "SELECT 1")

        assert "sslmode=disable" in error.value.try_[0]

    async def test_a_server_that_is_down_is_unavailable(self) -> None:
        """The message names host, port and database; a retry may help."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            database = make_database(f"postgres://ada:hunter2@127.0.0.1:{port}/shop")

            with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port} .* 'shop'") as error:
                await scalar(database, "SELECT 1")

        assert WRONG not in str(error.value)

    async def test_a_host_that_does_not_exist_is_unavailable(self) -> None:
        """During a deployment, a name may not resolve yet."""
        with pytest.raises(Unavailable, match=r"nowhere\.invalid"):
            await scalar(make_database("postgres://ada@nowhere.invalid/shop"), "SELECT 1")

    async def test_a_server_that_does_not_answer_is_unavailable(self) -> None:
        """The attempt ends after `connect_timeout` seconds."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"postgres://ada@127.0.0.1:{silent.getsockname()[1]}/shop?connect_timeout=1"

            with pytest.raises(Unavailable, match="no answer in time"):
                await scalar(make_database(url), "SELECT 1")

    async def test_a_connect_timeout_of_zero_is_no_limit(self, postgres_url: str) -> None:
        """As for psql, which gets the same URL."""
        assert 1 == await scalar(make_database(f"{postgres_url}?connect_timeout=0"), "SELECT 1")

    async def test_the_run_waits_for_a_database_that_is_starting(
        self, postgres_server: Postgres
    ) -> None:
        """It fails if the database does not start in time."""
        postgres_server.psql("CREATE DATABASE late_1")
        postgres_server.psql("ALTER DATABASE late_1 CONNECTION LIMIT 0")
        postgres_server.psql(f"DROP ROLE IF EXISTS late; CREATE ROLE late LOGIN PASSWORD '{WRONG}'")
        url = parse_database_url(postgres_server.url("late_1"), Path(), "")
        database = make_database(url._replace(user="late", password=WRONG))

        try:
            with pytest.raises(Unavailable):
                await database.wait_until_up(0.3)
            waiting = asyncio.create_task(database.wait_until_up(20))
            await asyncio.to_thread(
                postgres_server.psql, "ALTER DATABASE late_1 CONNECTION LIMIT 10"
            )
            await waiting
        finally:
            postgres_server.psql("DROP DATABASE late_1 WITH (FORCE)")
            postgres_server.psql("DROP ROLE late")

    @pytest.mark.parametrize("autocommit", [False, True])
    async def test_many_clients_share_few_servers_behind_pgbouncer(
        self, pgbouncer_url: str, *, autocommit: bool
    ) -> None:
        """Prepared statements of clients don't collide, and none is left behind."""
        database = make_database(pgbouncer_url)

        async def client(number: int) -> list[int]:
            async with database.autocommit() if autocommit else database.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                found = []
                for _ in range(10):
                    result = await connection.exec_driver_sql("SELECT $1::int + 1", (number,))
                    found.append(await driver.fetchval("SELECT $1::int", result.scalar_one()))
                    await connection.commit()
                return found

        found = await asyncio.gather(*(client(number) for number in range(30)))

        assert [[number + 1] * 10 for number in range(30)] == found
        assert 0 == await scalar(database, "SELECT count(*) FROM pg_prepared_statements")

    async def test_other_statements_can_run_while_rows_are_streamed(
        self, pgbouncer_url: str
    ) -> None:
        """Statements without a name don't close an open cursor."""
        database = make_database(pgbouncer_url)
        total = 0
        async with database.connect() as connection:
            rows = await connection.stream(
                text("SELECT n FROM generate_series(1, 5000) n WHERE n > :low").bindparams(low=0)
            )
            async for part in rows.scalars().partitions(500):
                await connection.execute(text("SELECT :part"), {"part": str(part[0])})
                total += len(part)

        assert 5000 == total

    async def test_a_connection_that_is_lost_during_commit_is_reported_as_in_doubt(
        self, postgres_url: str
    ) -> None:
        """The server may or may not have committed."""
        database = make_database(postgres_url)
        async with database.autocommit() as connection:
            for statement in DIES_AT_COMMIT:
                await connection.exec_driver_sql(statement)

        with pytest.raises(CommandError) as error:
            async with begin_work(database, Mode.COMMIT) as work:
                await work.session.execute(text("INSERT INTO things VALUES (1)"))
                await work.commit()

        assert ("commit-unknown", 1) == (error.value.code, error.value.exit_code)

    async def test_a_name_unknown_to_pgbouncer_is_a_configuration_error(
        self, pgbouncer_url: str
    ) -> None:
        """The message is the pooler's own."""
        url = parse_database_url(pgbouncer_url, Path(), "")._replace(database="nowhere")

        with pytest.raises(ConfigurationError, match="nowhere"):
            await scalar(make_database(url), "SELECT 1")


class TestSQLite:
    """Connections to files."""

    async def test_foreign_keys_are_enforced(self, sqlite_url: str) -> None:
        """SQLite's default is off."""
        assert 1 == await scalar(make_database(sqlite_url), "PRAGMA foreign_keys")

    async def test_ddl_is_part_of_the_transaction(self, sqlite_url: str) -> None:
        """By default, the driver would commit before DDL."""
        database = make_database(sqlite_url)

        async with database.connect() as connection:
            await connection.exec_driver_sql("CREATE TABLE things (id int)")

        assert 0 == await scalar(database, "SELECT count(*) FROM sqlite_master")

    async def test_the_driver_sends_no_begin(self, sqlite_url: str) -> None:
        """SQLAlchemy's own BEGIN would fail after it."""
        database = make_database(sqlite_url)
        async with database.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("CREATE TABLE things (id int)")
            await driver.execute("INSERT INTO things VALUES (1)")
            found = await connection.exec_driver_sql("SELECT count(*) FROM things")

            assert 1 == found.scalar_one()

    async def test_a_second_writer_waits_for_the_first(self, sqlite_url: str) -> None:
        """A run that reads before it writes does not fail if another one wrote in between."""
        database = make_database(sqlite_url)
        async with database.autocommit() as connection:
            await connection.exec_driver_sql("CREATE TABLE counter (n int)")
            await connection.exec_driver_sql("INSERT INTO counter VALUES (0)")

        async def increment() -> None:
            async with begin_work(database, Mode.COMMIT) as work:
                found = await work.connection.exec_driver_sql("SELECT n FROM counter")
                n = found.scalar_one()
                await asyncio.sleep(0)
                await work.connection.exec_driver_sql("UPDATE counter SET n = ?", (n + 1,))
                await work.commit()

        await asyncio.gather(*(increment() for _ in range(5)))

        assert 5 == await scalar(database, "SELECT n FROM counter")

    async def test_a_missing_folder_is_a_configuration_error(self, tmp_path: Path) -> None:
        """The message names the file."""
        database = make_database(f"sqlite:///{tmp_path}/nowhere/shop.sqlite3")

        with pytest.raises(ConfigurationError, match=r"nowhere/shop\.sqlite3 can't be opened"):
            await scalar(database, "SELECT 1")

    async def test_a_file_that_is_not_a_database_is_a_configuration_error(
        self, tmp_path: Path
    ) -> None:
        """The file is not changed."""
        file = tmp_path / "shop.sqlite3"
        file.write_text("not a database, " * 100)

        with pytest.raises(DBAPIError) as caught:
            await scalar(make_database(f"sqlite:///{file}"), "SELECT count(*) FROM sqlite_master")

        assert isinstance(translate_error(caught.value), ConfigurationError)
        assert file.read_text().startswith("not a database")
