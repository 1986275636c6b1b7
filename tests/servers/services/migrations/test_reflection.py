"""SQLAlchemy reads the same about tables with few statements as with many."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, event, inspect
from sqlalchemy.dialects.postgresql.base import PGDialect

from oneoff.config.database_url import parse_database_url
from oneoff.database.asyncpg_adapter import driver_of
from oneoff.database.engine import Database
from oneoff.services.migrations import reflection
from oneoff.services.migrations.reflection import Reader, query_of, reading_together

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn
    from sqlalchemy.ext.asyncio import AsyncConnection

SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'it''s "fine"');
CREATE DOMAIN positive AS numeric(8, 2) DEFAULT 1 CHECK (VALUE > 0);
CREATE TABLE person (
    id integer GENERATED ALWAYS AS IDENTITY (START 7) PRIMARY KEY,
    mood mood DEFAULT 'sad', moods mood[], price positive, name varchar(20) COLLATE "C" NOT NULL,
    size integer, double integer GENERATED ALWAYS AS (size * 2) STORED,
    CONSTRAINT big CHECK (size > 10), UNIQUE NULLS NOT DISTINCT (name, size)
) WITH (fillfactor = 70);
COMMENT ON TABLE person IS 'people'; COMMENT ON COLUMN person.name IS 'it''s "quoted" \\ <&>';
CREATE INDEX by_name ON person (lower(name), size DESC NULLS LAST) INCLUDE (mood) WHERE size > 1;
CREATE INDEX by_pattern ON person (name varchar_pattern_ops) WITH (fillfactor = 60);
CREATE INDEX by_mood ON person USING gin (moods);
CREATE TABLE "Odd name" (a integer, b integer, PRIMARY KEY (b, a));
CREATE TABLE child (
    x integer, y integer, person integer REFERENCES person ON DELETE CASCADE,
    FOREIGN KEY (x, y) REFERENCES "Odd name" (b, a) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE "empty" ();
"""
METHODS = [name for name in vars(PGDialect) if name.startswith("get_multi_")]


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[AsyncConnection]:
    """Connect to a database with many kinds of columns, constraints and indexes."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    async with database.connect() as connection:
        await (await driver_of(connection)).execute(SCHEMA)
        yield connection
    await database.dispose()


def read(connection: Connection) -> dict[str, str]:
    """Return everything that SQLAlchemy knows about the tables, as text."""
    inspector = inspect(connection)
    names = sorted(inspector.get_table_names())
    found: dict[str, str] = {"names": str(names)}
    for name in METHODS:
        tables = getattr(inspector, name)(filter_names=names)
        found[name] = repr(sorted(tables.items()))
    return found


@contextmanager
def counting(connection: AsyncConnection) -> Iterator[list[str]]:
    """Collect the queries that a connection sends."""
    sent: list[str] = []

    def collect(_: object, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    event.listen(connection.sync_connection, "before_cursor_execute", collect)
    yield sent


def together(connection: Connection) -> dict[str, str]:
    """Read with few statements."""
    with reading_together(Reader(connection)):
        return read(connection)


@pytest.mark.parametrize("most", [reflection.MOST, 0], ids=["together", "one by one"])
async def test_the_same_is_read_as_without(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """JSON changes no value; the queries for very many tables are sent one by one."""
    monkeypatch.setattr(reflection, "MOST", most)

    assert await connection.run_sync(read) == await connection.run_sync(together)
    assert await connection.run_sync(read) == await connection.run_sync(read)


async def test_a_table_is_read_with_a_few_statements(connection: AsyncConnection) -> None:
    """Names, then the tables, then what belongs to their OIDs and types."""
    with counting(connection) as sent:
        await connection.run_sync(together)

    assert 5 >= len(sent), sent


async def test_a_type_that_sqlalchemy_does_not_know_is_reported_once(
    connection: AsyncConnection,
) -> None:
    """Without their rows, the enums of the other columns would be reported too."""
    await connection.exec_driver_sql("CREATE TABLE odd (whole xid8)")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await connection.run_sync(together)

    assert ["Did not recognize type 'xid8' of column 'whole'"] == [str(x.message) for x in caught]


async def test_the_default_of_a_column_that_owns_its_sequence_is_left_out(
    connection: AsyncConnection,
) -> None:
    """As by Alembic, which asks for each such column; a sequence on its own is a default."""
    driver = await driver_of(connection)
    await driver.execute("CREATE SEQUENCE own; CREATE SCHEMA other; CREATE SEQUENCE other.far")
    await driver.execute(
        "CREATE TABLE counted (\"it's\" bigserial, a integer DEFAULT nextval('own'), "
        "b integer DEFAULT nextval('other.far'), c integer DEFAULT 3)"
    )

    def columns(connection: Connection) -> list[ReflectedColumn]:
        with reading_together(Reader(connection)):
            return inspect(connection).get_columns("counted")

    assert {
        "it's": None,
        "a": "nextval('own'::regclass)",
        "b": "nextval('other.far'::regclass)",
        "c": "3",
    } == {one["name"]: one["default"] for one in await connection.run_sync(columns)}


async def test_expected_queries_are_sent_with_the_first_other_one(
    connection: AsyncConnection,
) -> None:
    """They have an answer by the time it is needed."""
    one, two = query_of("n", "SELECT 1 AS n"), query_of("n", "SELECT 2 AS n WHERE false")

    def rows(connection: Connection) -> list[list[Any]]:
        reader = Reader(connection, one)
        return [reader.rows(two), reader.rows(one)]

    with counting(connection) as sent:
        found = await connection.run_sync(rows)

    assert [[], [(1,)]] == found
    assert 1 == len(sent)
