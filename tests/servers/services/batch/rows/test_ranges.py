"""How a batch is divided: each row is in one range, and the ranges have about the same size."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Uuid,
    delete,
    func,
    insert,
    select,
)

from oneoff import BatchCommand, BatchRange
from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.services.batch.rows import ranges
from oneoff.services.batch.rows.selection import make_selection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

METADATA = MetaData()
PLACES = Table(
    "places",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("number", Integer, unique=True, nullable=False),
    Column("name", String(20), unique=True, nullable=False),
    Column("age", Integer),
    Index("ix_places_age", "age"),
)


class Visit(BatchCommand):
    """Visit all places."""

    def select(self) -> Select[Any]:
        """Return all rows, locked; counting them must not lock them."""
        return select(PLACES).with_for_update()

    async def process(self, session: Any, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class Number(Visit):
    """Visit all places, ordered by number."""

    key = "number"


class Name(Visit):
    """Visit all places, ordered by name."""

    key = "name"


class Late(Number):
    """Visit only the last places."""

    def select(self) -> Select[Any]:
        """Return one row in twenty."""
        return select(PLACES).where(PLACES.c.number >= 95**3 * 100)


class Forget(BatchCommand):
    """Delete by age."""

    range_column = "age"

    def change(self) -> Any:
        """Delete all rows with an age."""
        return delete(PLACES)


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[Database]:
    """Open an empty PostgreSQL database."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    yield database
    await database.dispose()


async def fill(connection: AsyncConnection, rows: int) -> None:
    """Insert rows with unevenly spread keys: cubes; every third age is NULL."""
    await connection.run_sync(METADATA.create_all)
    values = [
        {
            "id": uuid.uuid5(uuid.NAMESPACE_OID, str(number)),
            "number": (number * 100 // max(rows, 1)) ** 3 * 100 + number,
            "name": f"{'z' if number % 10 else 'a'}{number:05}",
            "age": None if number % 3 == 0 else min(number, rows // 4),
        }
        for number in range(rows)
    ]
    if values:
        await connection.execute(insert(PLACES), values)


async def split(
    connection: AsyncConnection, command: BatchCommand, shards: int
) -> tuple[list[BatchRange | None], list[int]]:
    """Return the ranges of a command, and the number of rows in each."""
    found = await ranges.split(connection, make_selection(command, BatchRange()), shards)
    counts = []
    for limits in found:
        keys = make_selection(command, limits).keys(None).subquery()
        counts.append(await connection.scalar(select(func.count()).select_from(keys)) or 0)
    return found, counts


@pytest.mark.parametrize("command", [Visit, Number, Name])
async def test_each_row_is_in_one_range_and_all_ranges_have_the_same_size(
    database: Database, command: type[BatchCommand]
) -> None:
    """For any type and distribution of keys."""
    async with database.connect() as connection:
        await fill(connection, 1_000)
        found, counts = await split(connection, command(), 8)

    assert [125] * 8 == counts
    assert (None, None) == (found[0] and found[0].low, found[-1] and found[-1].high)


async def test_rows_with_equal_keys_are_in_one_range_and_null_is_in_none(
    database: Database,
) -> None:
    """Most rows have the same age, so there are fewer ranges with rows."""
    async with database.connect() as connection:
        await fill(connection, 600)
        found, counts = await split(connection, Forget(), 4)

    assert [100, 300, 0, 0] == counts
    assert [False, False, False, True] == [limits is None for limits in found]


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
async def test_with_fewer_rows_than_ranges_the_last_ranges_are_empty(
    database: Database, rows: int
) -> None:
    """The first range always exists, for rows that are inserted later."""
    async with database.connect() as connection:
        await fill(connection, rows)
        found, counts = await split(connection, Number(), 8)

    assert [1] * rows + [0] * (8 - rows) == counts
    assert max(rows, 1) == sum(limits is not None for limits in found)


@pytest.mark.parametrize("command", [Number, Name, Visit])
async def test_a_large_table_is_sampled(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch, command: type[BatchCommand]
) -> None:
    """The ranges have similar sizes, and are the same each time."""
    monkeypatch.setattr(ranges, "MIN_BLOCKS", 40)
    async with on_postgres.connect() as connection:
        await fill(connection, 20_000)
        found, counts = await split(connection, command(), 4)
        again, _ = await split(connection, command(), 4)

    assert 20_000 == sum(counts)
    assert all(1_000 < count < 9_000 for count in counts), counts
    assert [5_000] * 4 != counts
    assert found == again


async def test_a_sample_with_too_few_selected_rows_splits_the_table_evenly(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All selected rows are in the last range, and none is lost."""
    monkeypatch.setattr(ranges, "MIN_BLOCKS", 40)
    monkeypatch.setattr(ranges, "BLOCKS_PER_SHARD", 10)
    monkeypatch.setattr(ranges, "MIN_KEYS", 10_000)
    async with on_postgres.connect() as connection:
        await fill(connection, 20_000)
        found, counts = await split(connection, Late(), 4)

    total = sum(counts)
    assert 4 == sum(limits is not None for limits in found)
    assert total > 0
    assert counts[-1] == total
