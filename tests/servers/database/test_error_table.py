"""Each class of errors of a database has an exit code and words of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import CommandError, ExitCode
from oneoff.database.engine import Database
from oneoff.database.errors import translate_error

DATA, UNAVAILABLE, TEMPORARY = ExitCode.DATA, ExitCode.UNAVAILABLE, ExitCode.TEMPORARY
FAILED, CONFIGURATION = ExitCode.FAILED, ExitCode.CONFIGURATION

POSTGRESQL = [
    ("08006", UNAVAILABLE, "the connection to the database was lost"),
    ("22001", DATA, "it is too long for its column"),
    ("22003", DATA, "it is out of the range of its type"),
    ("22008", DATA, "it is not a valid date or time"),
    ("22P02", DATA, "it is not valid for its type"),
    ("23505", FAILED, "such a row already exists"),
    ("25P03", UNAVAILABLE, "the connection to the database was lost"),
    ("28000", CONFIGURATION, "boo"),
    ("2BP01", FAILED, "the database refused a statement: boo"),
    ("39P01", FAILED, "the database refused a statement: boo"),
    ("40001", TEMPORARY, "it conflicted with another transaction"),
    ("40003", TEMPORARY, "it conflicted with another transaction"),
    ("40P01", TEMPORARY, "it was in a deadlock"),
    ("42501", CONFIGURATION, "the database user lacks a permission: boo"),
    ("42704", CONFIGURATION, "boo"),
    ("44000", FAILED, "a row does not match the condition of its view"),
    ("53000", UNAVAILABLE, "the database server can't work at present: boo"),
    ("53100", UNAVAILABLE, "its disk is full"),
    ("53200", UNAVAILABLE, "it is out of memory"),
    ("53300", UNAVAILABLE, "it accepts no more connections"),
    ("54000", DATA, "it is too large for the table or an index"),
    ("54001", DATA, "it is nested too deeply"),
    ("55000", FAILED, "the database refused a statement: boo"),
    ("55P03", TEMPORARY, "a row or table stayed locked"),
    ("57014", TEMPORARY, "a statement took longer than statement_timeout allows"),
    ("57P01", UNAVAILABLE, "the connection to the database was lost"),
    ("58030", UNAVAILABLE, "the database server can't work at present: boo"),
    ("72000", TEMPORARY, "it read rows that the server no longer keeps"),
    ("F0000", CONFIGURATION, "the configuration of the database server is wrong: boo"),
    ("HV000", FAILED, "the database refused a statement: boo"),
    ("P0001", FAILED, "the database refused a statement: boo"),
    ("T1234", FAILED, "the database refused a statement: boo"),
    ("XX000", FAILED, "the database refused a statement: boo"),
    ("XX001", FAILED, "the database refused a statement: boo"),
]
SQLITE = [
    (3, CONFIGURATION, "SQLite: boo"),
    (5, TEMPORARY, "the file stayed locked by another process"),
    (6, TEMPORARY, "the file stayed locked by another process"),
    (7, UNAVAILABLE, "SQLite: boo"),
    (10, UNAVAILABLE, "SQLite: boo"),
    (11, CONFIGURATION, "SQLite: boo"),
    (13, UNAVAILABLE, "SQLite: boo"),
    (15, TEMPORARY, "the file stayed locked by another process"),
    (17, TEMPORARY, "another process changed a table"),
    (18, DATA, "it is too large"),
    (20, DATA, "it is not valid for its type"),
    (26, CONFIGURATION, "SQLite: boo"),
]


async def raised(url: str, sql: str, **parameters: object) -> CommandError:
    """Return the error of a statement that fails."""
    database = Database(parse_database_url(url, Path(), "shop"), run_id="test")
    try:
        async with database.connect() as connection:
            await connection.execute(text(sql), parameters)
    except Exception as exc:  # noqa: BLE001 - each driver has its own
        error = translate_error(exc)
        assert error is not None
        return error
    finally:
        await database.dispose()
    raise AssertionError(sql)


@pytest.mark.parametrize(("sqlstate", "exit_code", "words"), POSTGRESQL)
async def test_each_sqlstate_of_postgresql_has_its_cause(
    postgres_url: str, sqlstate: str, exit_code: ExitCode, words: str
) -> None:
    """The server raises the error. It is no bug, and what is saved depends on the run."""
    sql = f"DO $$ BEGIN RAISE 'boo' USING ERRCODE = '{sqlstate}'; END $$"

    error = await raised(postgres_url, sql)

    assert exit_code == error.exit_code
    assert words in error.message
    assert [] == [text for text in ("bug", "written", "rolled back") if text in error.why]


@pytest.mark.parametrize("sqlstate", ["0A000", "22012", "42601", "42883"])
async def test_a_statement_that_can_never_work_is_a_bug(postgres_url: str, sqlstate: str) -> None:
    """The input is not its cause."""
    sql = f"DO $$ BEGIN RAISE 'boo' USING ERRCODE = '{sqlstate}'; END $$"

    error = await raised(postgres_url, sql)

    assert "database-error" == error.code
    assert "this is a bug" in error.why


@pytest.mark.parametrize(("code", "exit_code", "words"), SQLITE)
def test_each_result_code_of_sqlite_has_its_cause(
    code: int, exit_code: ExitCode, words: str
) -> None:
    """An extended result code too: its lowest byte is the primary one."""
    exc = sqlite3.OperationalError("boo")
    exc.sqlite_errorcode = code | 1 << 8

    error = translate_error(exc)

    assert error is not None
    assert exit_code == error.exit_code
    assert words in error.message
    assert [] == [text for text in ("bug", "written", "rolled back") if text in error.why]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("half of a pair: \ud83d", "a text contains a character that can't be stored"),
        (10**30, "it is not valid for its type, or out of its range"),
    ],
)
async def test_a_value_that_the_driver_of_sqlite_can_not_send_is_bad_data(
    tmp_path: Path, value: object, words: str
) -> None:
    """The driver raises an error of Python's own for it."""
    error = await raised(f"sqlite:///{tmp_path / 'a.sqlite3'}", "SELECT :value", value=value)

    assert DATA == error.exit_code
    assert words in error.message


async def test_a_value_that_the_driver_of_postgresql_can_not_send_is_bad_data(
    postgres_url: str,
) -> None:
    """The driver raises an error without a SQLSTATE for it."""
    error = await raised(postgres_url, "SELECT CAST(:value AS integer)", value=10**30)

    assert (DATA, "bad-data") == (error.exit_code, error.code)


def test_an_error_of_other_code_is_not_translated() -> None:
    """Its traceback does not end in a driver."""
    with pytest.raises(OverflowError) as caught:
        int(float("inf"))

    assert translate_error(caught.value) is None
