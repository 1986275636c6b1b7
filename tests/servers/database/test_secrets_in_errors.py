"""Tracebacks of real errors do not show secrets that the server or the driver quotes."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from oneoff.config.database_url import DatabaseURL, parse_database_url
from oneoff.utils.redaction import Redactor

SECRET = "s3cret-in-a-row"  # noqa: S105 - planted
TABLE = "CREATE TABLE keys (id int PRIMARY KEY, token varchar(40) UNIQUE, n int CHECK (n > 0))"


@pytest.fixture
def url(database_url: str, tmp_path: Any) -> DatabaseURL:
    """Return the URL of an empty database."""
    return parse_database_url(database_url, tmp_path, "shop")


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("INSERT INTO keys VALUES (2, :a, 1)", {"a": SECRET}),
        (f"INSERT INTO keys (id, token) VALUES (2, '{SECRET}')", {}),
        (f"UPDATE keys SET n = -1 WHERE token = '{SECRET}'", {}),
        ("UPDATE keys SET n = -1 WHERE token = :a", {"a": SECRET}),
        (f"SELECT nothing FROM keys WHERE token LIKE '{SECRET}'", {}),
        (f"ALTER ROLE nobody_here PASSWORD '{SECRET}'", {}),
        ("SELECT * FROM keys WHERE id = :a", {"a": object()}),
    ],
    ids=["key", "insert", "row", "parameter", "statement", "password", "type"],
)
async def test_a_traceback_shows_no_secret(
    url: DatabaseURL, sql: str, values: dict[str, Any]
) -> None:
    """Also with an engine of the application, which shows parameters."""
    engine = create_async_engine(url.sqlalchemy())
    async with engine.begin() as connection:
        await connection.execute(text(TABLE))
        await connection.execute(text(f"INSERT INTO keys VALUES (1, '{SECRET}', 1)"))

    with pytest.raises(DBAPIError) as caught:
        async with engine.begin() as connection:
            await connection.execute(text(sql), values)
    await engine.dispose()

    shown = Redactor().text("".join(traceback.format_exception(caught.value)))
    assert SECRET not in shown
    assert "Traceback" in shown
