"""A selection processes each selected row once, or refuses the command."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    select,
    update,
)

from oneoff import BatchCommand, BatchRange, ConfigurationError
from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.services.batch.rows.selection import make_selection

METADATA = MetaData()
USERS = Table(
    "users",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("age", Integer),
    Column("seen", DateTime(timezone=True), onupdate=func.now()),
    Column("marks", Integer, nullable=False, default=0),
    Index("ix_users_age", "age"),
    Index("ix_users_seen", "seen"),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
)


class ByEvents(BatchCommand):
    """Go through the users, once for each event."""

    def select(self) -> Any:
        """Return a user several times."""
        return select(USERS).join(EVENTS)

    async def process(self, session: Any, batch: Sequence[Any]) -> int:
        """Count."""
        return len(batch)


class Mark(BatchCommand):
    """Mark the users, in ranges of their age."""

    range_column = "age"

    def change(self) -> Any:
        """Mark all of them."""
        return update(USERS).values(marks=USERS.c.marks + 1)


@pytest.fixture
async def database(database_url: str) -> Any:
    """Open a database with five users, of whom two have no age, and three events each."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="test")
    users = [{"id": n, "age": None if n > 3 else n, "marks": 0} for n in range(1, 6)]
    events = [{"id": n, "user_id": n % 5 + 1} for n in range(15)]
    async with database.transaction() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(USERS), users)
        await connection.execute(insert(EVENTS), events)
    yield database
    await database.dispose()


@pytest.mark.parametrize("size", [2, 3, 4, 100])
async def test_a_select_that_repeats_a_key_is_refused(database: Database, size: int) -> None:
    """A page that ends between two rows of one user would skip the second one."""
    selection = make_selection(ByEvents(), BatchRange())

    async with database.transaction() as connection:
        with pytest.raises(ConfigurationError, match=r"several rows with users\.id 1"):
            await selection.step(connection, None, size)


@pytest.mark.parametrize("size", [2, 100])
async def test_rows_without_a_value_are_in_no_range(database: Database, size: int) -> None:
    """Neither with several batches nor with a single one."""
    selection = make_selection(Mark(), BatchRange())
    after, last = None, False

    async with database.transaction() as connection:
        while not last:
            after, _, _, last, _ = await selection.step(connection, after, size)
        marked = await connection.scalars(select(USERS.c.id).where(USERS.c.marks == 1))
        expected = await connection.scalar(
            select(func.count()).select_from(selection.keys(None).subquery())
        )

    assert [1, 2, 3] == sorted(marked)
    assert 3 == expected


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", {"age": USERS.c.age + 1}),
        ("age", {USERS.c.age: 7}),
        ("seen", {"seen": datetime(2026, 1, 1, tzinfo=UTC)}),
        ("seen", {"marks": 1}),
    ],
)
def test_an_update_that_sets_its_range_column_is_refused(
    column: str, values: dict[Any, Any]
) -> None:
    """Later batches would find the same rows again. `onupdate` sets the column too."""
    body = {"__doc__": "Move.", "range_column": column}
    move: Any = type(
        "Move", (BatchCommand,), body | {"change": lambda _: update(USERS).values(values)}
    )

    with pytest.raises(ConfigurationError, match=rf"change sets users\.{column}"):
        make_selection(move(), None)
