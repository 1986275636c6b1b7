"""A dry run saves nothing, even if the command tries to commit its work."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import DryRunViolation
from oneoff.core.outcome import RowCounts
from oneoff.core.policy import Mode
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error
from oneoff.database.transaction import WorkTransaction, begin_work
from tests.support.rehearsal import (
    NOTES,
    REPLIES,
    WRITE,
    Hostile,
    driver_of,
    names,
    rehearse,
    saved,
    sql,
)


async def session_commits(work: WorkTransaction, _: Database) -> None:
    """Commit the session twice."""
    await work.session.commit()
    await work.session.execute(insert(NOTES).values(text="after session.commit()"))
    await work.session.commit()


async def session_rolls_back(work: WorkTransaction, _: Database) -> None:
    """Roll the session back and continue."""
    await work.session.rollback()
    await work.session.execute(insert(NOTES).values(text="after session.rollback()"))


async def connection_commits(work: WorkTransaction, _: Database) -> None:
    """Commit the session's connection."""
    await (await work.session.connection()).commit()


async def connection_rolls_back(work: WorkTransaction, _: Database) -> None:
    """Roll the session's connection back."""
    await (await work.session.connection()).rollback()


def on_driver(script: str) -> Hostile:
    """Return a command that sends all statements in one text to the driver."""

    async def command(work: WorkTransaction, _: Database) -> None:
        driver = await driver_of(work)
        await getattr(driver, "executescript", driver.execute)(script)

    command.__name__ = f"driver: {script}"
    return command


async def driver_commits(work: WorkTransaction, _: Database) -> None:
    """Commit on asyncpg or aiosqlite."""
    driver = await driver_of(work)
    await (driver.commit() if hasattr(driver, "commit") else driver.execute("COMMIT"))


ENDS_THE_TRANSACTION: list[Hostile] = [
    connection_commits,
    connection_rolls_back,
    driver_commits,
    sql("COMMIT"),
    sql("  /* really */ commit -- now"),
    sql("END"),
    sql("ROLLBACK", WRITE),
    on_driver(f"{WRITE}; COMMIT; {WRITE}"),
    on_driver(f"{WRITE}; END; {WRITE}"),
    on_driver(f"ROLLBACK; {WRITE}"),
    on_driver(f"COMMIT; BEGIN; {WRITE}; COMMIT; BEGIN"),
]


@pytest.mark.parametrize("command", ENDS_THE_TRANSACTION, ids=names)
async def test_ending_the_transaction_is_an_error_and_nothing_is_saved(
    database: Database, command: Hostile
) -> None:
    """The error says that the dry run tried to end its transaction."""
    with pytest.raises(DryRunViolation, match="tried to end its transaction"):
        await rehearse(database, command)

    assert [] == await saved(database)


@pytest.mark.parametrize("command", ENDS_THE_TRANSACTION, ids=names)
async def test_a_swallowed_violation_is_reported_at_the_end(
    database: Database, command: Hostile
) -> None:
    """The operator sees the refusal even if the command caught the error."""
    with pytest.raises(DryRunViolation):
        await rehearse(database, command, swallow=True)

    assert [] == await saved(database)


@pytest.mark.parametrize("command", [session_commits, session_rolls_back], ids=names)
async def test_the_session_of_a_dry_run_may_commit_and_roll_back(
    database: Database, command: Hostile
) -> None:
    """A service that ends the session's transaction works, and nothing is saved."""
    counts = await rehearse(database, command)

    assert counts["notes"].inserted > 0
    assert [] == await saved(database)


async def test_a_real_run_saves_committed_and_uncommitted_work_of_the_session(
    database: Database,
) -> None:
    """Only the executor commits, so both are saved together."""
    async with begin_work(database, Mode.COMMIT) as work:
        await session_commits(work, database)
        await work.session.execute(insert(NOTES).values(text="never committed"))
        counts = await work.commit()

    assert {"notes": RowCounts(inserted=2)} == counts
    assert ["after session.commit()", "never committed"] == await saved(database)


async def test_a_real_run_that_fails_saves_nothing(database: Database) -> None:
    """A session.commit() before the error saves nothing either."""
    with pytest.raises(ZeroDivisionError):
        async with begin_work(database, Mode.COMMIT) as work:
            await session_commits(work, database)
            _ = 1 / 0

    assert [] == await saved(database)


async def test_a_deferred_constraint_fails_in_the_dry_run_as_in_the_real_run(
    database: Database,
) -> None:
    """The dry run checks what otherwise only a commit checks."""

    async def dangles(work: WorkTransaction, _: Database) -> None:
        await work.session.execute(insert(REPLIES).values(note_id=12345))

    with pytest.raises(Exception, match=r"(?i)foreign key") as previewed:
        await rehearse(database, dangles)
    with pytest.raises(DBAPIError) as real:
        async with begin_work(database, Mode.COMMIT) as work:
            await dangles(work, database)
            await work.commit()

    errors = [translate_error(previewed.value), translate_error(real.value)]
    assert ["constraint-violation"] * 2 == [error.code for error in errors if error]


async def test_a_deferred_constraint_that_is_met_at_the_end_is_no_error(database: Database) -> None:
    """As in a real run, the order of the rows doesn't matter."""

    async def child_first(work: WorkTransaction, _: Database) -> None:
        await work.session.execute(insert(REPLIES).values(note_id=7))
        await work.session.execute(insert(NOTES).values(id=7, text="late"))

    counts = await rehearse(database, child_first)

    assert {"notes": RowCounts(inserted=2), "replies": RowCounts(inserted=1)} == counts


class TestPostgreSQL:
    """Features that only PostgreSQL has."""

    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        """Use only PostgreSQL."""
        return postgres_url

    async def test_a_copy_before_any_statement_is_rolled_back_and_counted(
        self, database: Database
    ) -> None:
        """BEGIN is sent before the command runs."""
        async with begin_work(database, Mode.ROLLBACK) as work:
            raw = await work.connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.copy_records_to_table("notes", records=[(1, "a"), (2, "b")])
            counts = await work.finish_dry_run()

        assert {"notes": RowCounts(inserted=2)} == counts
        assert [] == await saved(database)

    @pytest.mark.parametrize(
        "command", [on_driver("PREPARE TRANSACTION 'x'"), sql("ROLLBACK AND CHAIN", WRITE)]
    )
    async def test_rare_ways_to_end_the_transaction_are_refused(
        self, database: Database, command: Hostile
    ) -> None:
        """They would end the transaction too."""
        with pytest.raises(DryRunViolation):
            await rehearse(database, command)

        assert [] == await saved(database)

    async def test_the_server_refuses_a_commit_that_bypasses_the_driver(
        self, database: Database
    ) -> None:
        """No client can bypass the guard in the server."""

        async def unguarded(work: WorkTransaction, _: Database) -> None:
            driver = await driver_of(work)
            driver.guarded_mode = None
            await driver.execute("COMMIT")

        with pytest.raises(Exception, match="oneoff: a dry run can only be rolled back"):
            await rehearse(database, unguarded)
        with pytest.raises(DryRunViolation, match="ended too early"):
            await rehearse(database, unguarded, swallow=True)

        assert [] == await saved(database)

    async def test_a_statement_after_an_unnoticed_end_is_refused(self, database: Database) -> None:
        """Without a transaction it would commit itself."""

        async def goes_on(work: WorkTransaction, _: Database) -> None:
            driver = await driver_of(work)
            driver.guarded_mode = None
            await driver.execute("ROLLBACK")
            driver.guarded_mode = Mode.ROLLBACK
            await driver.copy_records_to_table("notes", records=[(1, "left behind")])

        for swallow in (False, True):
            with pytest.raises(DryRunViolation, match="ended too early"):
                await rehearse(database, goes_on, swallow=swallow)

        assert [] == await saved(database)

    async def test_a_replaced_transaction_is_reported_at_the_end(self, database: Database) -> None:
        """If it can't be refused, it is at least reported."""

        async def exchanges(work: WorkTransaction, _: Database) -> None:
            driver = await driver_of(work)
            driver.guarded_mode = None
            await driver.execute("ROLLBACK; BEGIN; SAVEPOINT sa_savepoint_1")

        with pytest.raises(DryRunViolation, match="ended too early"):
            await rehearse(database, exchanges)

    async def test_the_command_may_check_constraints_early(self, database: Database) -> None:
        """SET CONSTRAINTS ALL IMMEDIATE is not a violation."""
        counts = await rehearse(database, sql("SET CONSTRAINTS ALL IMMEDIATE"))

        assert {"notes": RowCounts(inserted=1)} == counts

    @pytest.mark.parametrize(
        "script",
        [
            "DO $$ BEGIN INSERT INTO notes (text) VALUES ('COMMIT; ROLLBACK;'); END $$",
            "INSERT INTO notes (text) VALUES ('a; COMMIT')",
            "SAVEPOINT s; ROLLBACK TO SAVEPOINT s; INSERT INTO notes (text) VALUES ('b')",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; " + WRITE,
        ],
    )
    async def test_words_in_texts_and_functions_are_not_violations(
        self, database: Database, script: str
    ) -> None:
        """Only statements that end the transaction are refused."""
        counts = await rehearse(database, on_driver(script))

        assert {"notes": RowCounts(inserted=2)} == counts

    @pytest.mark.parametrize(
        "script",
        [
            r"SELECT E'\''; COMMIT; BEGIN; SELECT '1'",
            r"SET standard_conforming_strings = off; SELECT '\''; COMMIT; BEGIN; SELECT '1'",
            "SELECT 1 AS a$b$; COMMIT; BEGIN; SELECT 2 AS c$b$",
            "/* /* */ ' */ SELECT 1; COMMIT; BEGIN --'",
            "SELECT 1; -- '\rCOMMIT",
            "CLOSE ALL",
            'CLOSE "oneoff_dry_run"',
        ],
    )
    async def test_no_quoting_hides_the_end_of_a_transaction(
        self, database: Database, script: str
    ) -> None:
        """The guard reads the text as the server reads it."""
        with pytest.raises(DryRunViolation, match="tried to end its transaction"):
            await rehearse(database, on_driver(f"{WRITE}; {script}"))

        assert [] == await saved(database)

    async def test_the_guard_works_behind_pgbouncer(
        self, database: Database, pgbouncer_url: str
    ) -> None:
        """In transaction mode, the next transaction may reach another server process."""
        pooled = Database(parse_database_url(pgbouncer_url, Path(), "shop"), run_id="pooled")

        counts = await rehearse(pooled, session_commits)
        for command in (connection_commits, sql("ROLLBACK", WRITE)):
            with pytest.raises(DryRunViolation):
                await rehearse(pooled, command)
        async with pooled.connect() as connection:
            await connection.execute(insert(NOTES).values(text="the pool is writable"))
            await connection.commit()

        assert {"notes": RowCounts(inserted=2)} == counts
        assert ["the pool is writable"] == await saved(database)


class TestSQLite:
    """Features that only SQLite has."""

    @pytest.fixture
    def database_url(self, tmp_path: Path) -> str:
        """Use only SQLite."""
        return f"sqlite:///{tmp_path}/shop.sqlite3"

    async def test_a_write_on_the_driver_before_any_statement_is_rolled_back(
        self, database: Database
    ) -> None:
        """BEGIN is sent before the command runs."""
        async with begin_work(database, Mode.ROLLBACK) as work:
            raw = await work.connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.execute(WRITE)
            await work.finish_dry_run()

        assert [] == await saved(database)

    async def test_a_conflict_that_rolls_back_is_reported_at_the_end(
        self, database: Database
    ) -> None:
        """INSERT OR ROLLBACK ends the transaction without the authorizer."""

        async def conflicts(work: WorkTransaction, _: Database) -> None:
            await work.session.execute(insert(NOTES).values(id=5, text="a"))
            await work.session.execute(
                text("INSERT OR ROLLBACK INTO notes (id, text) VALUES (5, 'b')")
            )

        with pytest.raises(DryRunViolation, match="ended too early"):
            await rehearse(database, conflicts, swallow=True)

    async def test_references_that_were_dangling_before_the_run_are_no_error(
        self, database: Database
    ) -> None:
        """They would not prevent a real commit either."""
        async with database.connect("schema") as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("PRAGMA foreign_keys=OFF")
            await connection.execute(insert(REPLIES).values(note_id=999))
            await connection.commit()

        counts = await rehearse(database, session_commits)

        assert {"notes": RowCounts(inserted=2)} == counts

    async def test_nothing_is_written_after_a_conflict_that_rolls_back(
        self, database: Database
    ) -> None:
        """Without a transaction, each statement would commit itself."""

        async def goes_on(work: WorkTransaction, _: Database) -> None:
            driver = await driver_of(work)
            await driver.execute("INSERT INTO notes (id, text) VALUES (5, 'a')")
            with suppress(sqlite3.IntegrityError):
                await driver.execute("INSERT OR ROLLBACK INTO notes (id, text) VALUES (5, 'b')")
            await driver.execute(WRITE)

        with pytest.raises(DryRunViolation, match="ended too early"):
            await rehearse(database, goes_on, swallow=True)

        assert [] == await saved(database)

    async def test_nothing_is_written_after_the_rollback(self, database: Database) -> None:
        """A task that is still running may still use the driver."""
        with pytest.raises(DryRunViolation, match="after the command had ended"):
            async with begin_work(database, Mode.ROLLBACK) as work:
                driver = await driver_of(work)
                await work.rollback()
                with suppress(sqlite3.DatabaseError):
                    await driver.execute(WRITE)

        assert [] == await saved(database)
