"""Where a batch is cut: every row is in one range, and the ranges have about as many rows."""

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
    """Go through the places."""

    def select(self) -> Select[Any]:
        """Return all, locked: to count them is no reason to."""
        return select(PLACES).with_for_update()

    async def process(self, session: Any, batch: Sequence[Any]) -> int:
        """Do nothing."""
        return 0


class Number(Visit):
    """The same by number."""

    key = "number"


class Name(Visit):
    """The same by name."""

    key = "name"


class Late(Number):
    """Only the last of them."""

    def select(self) -> Select[Any]:
        """Return one in twenty."""
        return select(PLACES).where(PLACES.c.number >= 95**3 * 100)


class Forget(BatchCommand):
    """Delete by age."""

    range_column = "age"

    def change(self) -> Any:
        """Delete all that have one."""
        return delete(PLACES)


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[Database]:
    """Open an empty PostgreSQL database."""
    database = Database(parse_database_url(postgres_url, Path(), "shop"), run_id="test")
    yield database
    await database.dispose()


async def fill(connection: AsyncConnection, rows: int) -> None:
    """Make rows whose keys are spread unevenly: cubes, and every third age is NULL."""
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


async def cut(
    connection: AsyncConnection, command: BatchCommand, shards: int
) -> tuple[list[BatchRange | None], list[int]]:
    """Return the ranges of a command, and the rows in each."""
    found = await ranges.cut(connection, make_selection(command, BatchRange()), shards)
    counts = []
    for limits in found:
        keys = make_selection(command, limits).keys(None).subquery()
        counts.append(await connection.scalar(select(func.count()).select_from(keys)) or 0)
    return found, counts


@pytest.mark.parametrize("command", [Visit, Number, Name])
async def test_each_row_is_in_one_of_as_many_ranges_of_one_size(
    database: Database, command: type[BatchCommand]
) -> None:
    """Whatever the keys are, and however they are spread."""
    async with database.connect() as connection:
        await fill(connection, 1_000)
        found, counts = await cut(connection, command(), 8)

    assert [125] * 8 == counts
    assert (None, None) == (found[0] and found[0].low, found[-1] and found[-1].high)


async def test_ties_are_never_parted_and_null_is_in_no_range(database: Database) -> None:
    """Most rows share an age: fewer ranges are left."""
    async with database.connect() as connection:
        await fill(connection, 600)
        found, counts = await cut(connection, Forget(), 4)

    assert [100, 300, 0, 0] == counts
    assert [False, False, False, True] == [limits is None for limits in found]


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
async def test_fewer_rows_than_ranges_leave_the_last_empty(database: Database, rows: int) -> None:
    """The first is there always, for rows that come later."""
    async with database.connect() as connection:
        await fill(connection, rows)
        found, counts = await cut(connection, Number(), 8)

    assert [1] * rows + [0] * (8 - rows) == counts
    assert max(rows, 1) == sum(limits is not None for limits in found)


@pytest.mark.parametrize("command", [Number, Name, Visit])
async def test_a_large_table_is_sampled(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch, command: type[BatchCommand]
) -> None:
    """The ranges are near each other in size, and the same each time."""
    monkeypatch.setattr(ranges, "MIN_BLOCKS", 40)
    async with on_postgres.connect() as connection:
        await fill(connection, 20_000)
        found, counts = await cut(connection, command(), 4)
        again, _ = await cut(connection, command(), 4)

    assert 20_000 == sum(counts)
    assert all(1_000 < count < 9_000 for count in counts), counts
    assert [5_000] * 4 != counts
    assert found == again


async def test_a_sample_with_too_few_of_the_wanted_rows_cuts_the_table_evenly(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the wanted rows are in the last range, and none is lost."""
    monkeypatch.setattr(ranges, "MIN_BLOCKS", 40)
    monkeypatch.setattr(ranges, "BLOCKS_PER_SHARD", 10)
    monkeypatch.setattr(ranges, "MIN_KEYS", 10_000)
    async with on_postgres.connect() as connection:
        await fill(connection, 20_000)
        found, counts = await cut(connection, Late(), 4)

    whole = sum(counts)
    assert 4 == sum(limits is not None for limits in found)
    assert whole > 0
    assert counts[-1] == whole
