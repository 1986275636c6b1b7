"""Errors of databases are translated to errors that an operator can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, ForeignKey, String, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import (
    CommandError,
    ConfigurationError,
    DryRunViolation,
    ExitCode,
    ReadOnlyViolation,
    TemporaryError,
    Unavailable,
)
from oneoff.database.connect_errors import translate_connect_error
from oneoff.database.engine import Database
from oneoff.database.errors import is_connection_loss, translate_error

SECRET = "hunter2"  # noqa: S105


class Base(DeclarativeBase):
    """Declares the tables of these tests."""


class Account(Base):
    """Has one constraint of each kind."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("balance >= 0", name="no_debts"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(20), unique=True)
    balance: Mapped[int] = mapped_column(default=0)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))


Statement = Callable[[AsyncConnection], Awaitable[Any]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database with one account."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Account).values(id=1, email=SECRET))
        await connection.commit()
    yield database
    await database.dispose()


async def error_of(database: Database, statement: Statement) -> CommandError:
    """Return the error for a statement that fails."""
    async with database.connect() as connection:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver has its own
            await statement(connection)
    error = translate_error(caught.value)
    assert error is not None
    return error


def account(**values: object) -> Statement:
    """Return a statement that inserts an account."""
    return lambda connection: connection.execute(insert(Account).values(id=2, **values))


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        (account(email=SECRET), "email"),
        (account(email=None), "accounts.email"),
        (account(email="x", balance=-1), "no_debts"),
        (account(email="x", owner_id=99), ""),
    ],
    ids=["unique", "not null", "check", "foreign key"],
)
async def test_the_error_of_a_constraint_names_it_without_values(
    database: Database, statement: Statement, where: str
) -> None:
    """PostgreSQL's DETAIL would quote the row."""
    error = await error_of(database, statement)

    assert "constraint-violation" == error.code
    assert where in error.message
    assert SECRET not in error.message


async def test_a_missing_table_is_reported_as_a_missing_migration(database: Database) -> None:
    """The advice names the command to run."""
    error = await error_of(database, lambda c: c.execute(text("SELECT * FROM nowhere")))

    assert isinstance(error, ConfigurationError)
    assert "nowhere" in error.message
    assert "python manage.py migrate" == error.try_[0]


async def test_a_wrong_statement_is_reported_as_a_bug(database: Database) -> None:
    """It violates no constraint, and a retry does not help."""
    error = await error_of(database, lambda c: c.execute(text("SELEC 1")))

    assert "database-error" == error.code


async def test_a_command_error_is_not_changed() -> None:
    """It is already an error for the operator."""
    error = CommandError("no such user")

    assert error is translate_error(error)


async def test_an_error_that_no_database_raised_is_not_translated() -> None:
    """Other code translates it."""
    assert translate_error(ValueError("hello")) is None
    assert translate_error(ConnectionResetError("by an HTTP server")) is None


class TestPostgreSQL:
    """Errors are distinguished by SQLSTATE."""

    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        """Use only PostgreSQL."""
        return postgres_url

    @pytest.mark.parametrize(
        "sql",
        [
            f"SELECT '{SECRET}'::int",
            f"UPDATE accounts SET email = '{SECRET}, {SECRET}, {SECRET}'",
        ],
    )
    async def test_a_value_that_does_not_fit_is_not_quoted(
        self, database: Database, sql: str
    ) -> None:
        """PostgreSQL's own message quotes it."""
        error = await error_of(database, lambda c: c.execute(text(sql)))

        assert ("bad-data", ExitCode.DATA) == (error.code, error.exit_code)
        assert SECRET not in error.message

    async def test_a_parameter_of_the_wrong_type_is_not_quoted(self, database: Database) -> None:
        """The driver's own message quotes it."""
        error = await error_of(database, lambda c: c.exec_driver_sql("SELECT $1::int", (SECRET,)))

        assert "bad-data" == error.code
        assert SECRET not in error.message

    @pytest.mark.parametrize(
        ("sql", "kind"),
        [
            ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", TemporaryError),
            ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
            ("SET TRANSACTION READ ONLY; CREATE TABLE more (id int)", ReadOnlyViolation),
            ("SET LOCAL ROLE pg_monitor; DELETE FROM accounts", ConfigurationError),
        ],
    )
    async def test_each_cause_has_its_exit_code(
        self, database: Database, sql: str, kind: type[CommandError]
    ) -> None:
        """A retry helps for some and not for others."""

        async def run(connection: AsyncConnection) -> None:
            for statement in sql.split("; "):
                await connection.execute(text(statement))

        error = await error_of(database, run)

        assert kind is type(error)

    async def test_a_lock_that_stays_held_is_temporary(self, database: Database) -> None:
        """The other transaction will end at some time."""

        async def waits(connection: AsyncConnection) -> None:
            async with database.connect("other") as other:
                await other.execute(text("LOCK accounts"))
                await connection.execute(text("SET LOCAL lock_timeout = 1"))
                await connection.execute(text("SELECT * FROM accounts"))

        assert isinstance(await error_of(database, waits), TemporaryError)

    async def test_errors_of_the_driver_itself_are_translated_too(self, database: Database) -> None:
        """A command that uses asyncpg directly gets the same messages."""

        async def copies(connection: AsyncConnection) -> None:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.copy_records_to_table(
                "accounts", records=[(3, SECRET, 0, None)] * 2, timeout=5
            )

        error = await error_of(database, copies)

        assert ("constraint-violation", False) == (error.code, SECRET in error.message)

    async def test_a_lost_connection_is_distinguished_from_other_errors(
        self, database: Database
    ) -> None:
        """Only after a lost connection it is unknown what the server did."""
        lost = []
        for sql in ("SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())"):
            async with database.connect() as connection:
                with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver has its own
                    await connection.execute(text(sql))
                lost.append(is_connection_loss(caught.value))

        assert [False, True] == lost


class TestSQLite:
    """Errors are distinguished by result code."""

    @pytest.mark.parametrize(
        ("code", "words", "kind"),
        [
            (sqlite3.SQLITE_READONLY, "attempt to write", ReadOnlyViolation),
            (sqlite3.SQLITE_BUSY, "database is locked", TemporaryError),
            (sqlite3.SQLITE_FULL, "database or disk is full", Unavailable),
            (sqlite3.SQLITE_CANTOPEN, "unable to open", ConfigurationError),
            (sqlite3.SQLITE_AUTH, "not authorized", DryRunViolation),
        ],
    )
    def test_each_cause_has_its_exit_code(
        self, code: int, words: str, kind: type[CommandError]
    ) -> None:
        """A retry helps for some and not for others."""
        raised = sqlite3.OperationalError(words)
        # An extended code: the primary one is its lowest byte.
        raised.sqlite_errorcode = code | 1 << 8

        assert kind is type(translate_error(raised))

    def test_a_file_that_is_locked_on_connect_is_temporary(self) -> None:
        """Another process is writing."""
        raised = sqlite3.OperationalError("database is locked")
        raised.sqlite_errorcode = sqlite3.SQLITE_BUSY
        url = parse_database_url("", Path("/srv"), "shop")

        assert isinstance(translate_connect_error(raised, url), TemporaryError)
