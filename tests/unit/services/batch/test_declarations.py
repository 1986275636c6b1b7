"""Declarations and options of a batch command; units such as keys, sizes and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from asyncpg import InterfaceError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, UniqueConstraint, delete, select

from oneoff import BatchCommand, BatchRange, ConfigurationError, UsageError
from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import Unavailable
from oneoff.database.asyncpg_adapter import leads_through_pooler
from oneoff.services.batch import transactions
from oneoff.services.batch.rows.cursor import decode, encode
from oneoff.services.batch.rows.ranges import restored, stored
from oneoff.services.batch.rows.selection import make_selection
from oneoff.services.batch.run.faults import Fault, fault_of
from oneoff.services.batch.run.throttling import Sizing
from oneoff.services.batch.state.identity import identify

METADATA = MetaData()
PAIRS = Table(
    "pairs",
    METADATA,
    Column("left", Integer, primary_key=True),
    Column("right", Integer, primary_key=True),
    Column("code", String(10), nullable=False),
    Column("alias", String(10), unique=True),
    Column("plain", Integer, nullable=False),
    UniqueConstraint("code"),
)
KEYS = st.one_of(
    st.integers(),
    st.text(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
)


class Rows(BatchCommand):
    """Process the pairs."""

    key = "code"

    def select(self) -> Any:
        """Return all pairs."""
        return select(PAIRS)

    async def process(self, session: Any, batch: Any) -> int:
        """Do nothing."""
        return 0


class Ranges(BatchCommand):
    """Delete the pairs."""

    range_column = "left"

    def change(self) -> Any:
        """Delete all pairs."""
        return delete(PAIRS)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"select": lambda _: 0, "change": lambda _: 0}, "declares both select and change"),
        ({"select": lambda _: 0}, "declares select, so it needs process too"),
        ({"change": lambda _: 0}, "declares change, so it needs range_column too"),
    ],
)
def test_a_class_with_an_incomplete_declaration_is_refused(
    body: dict[str, Any], problem: str
) -> None:
    """The message names the missing part."""
    with pytest.raises(TypeError, match=problem):
        type("Odd", (BatchCommand,), {"__doc__": "Odd.", **body})


@pytest.mark.parametrize(
    ("base", "column", "problem"),
    [
        (Rows, "", "its primary key is not one column"),
        (Rows, "alias", "'alias' may be NULL"),
        (Rows, "plain", "'plain' is not unique"),
        (Rows, "cod", "it has no column 'cod'"),
        (Ranges, "plain", "no index begins with 'plain'"),
    ],
)
def test_an_unsuitable_key_column_is_refused(
    base: type[BatchCommand], column: str, problem: str
) -> None:
    """With such a key rows could be missed."""
    name = "key" if base is Rows else "range_column"
    wrong: Any = type("Wrong", (base,), {"__doc__": "Wrong.", name: column})

    with pytest.raises(ConfigurationError, match=problem):
        make_selection(wrong(), BatchRange())


@pytest.mark.parametrize("base", [Rows, Ranges])
def test_a_suitable_key_column_is_accepted(base: type[BatchCommand]) -> None:
    """A unique column, or the first column of an index."""
    expected = {Rows: "code", Ranges: "left"}[base]

    assert expected == make_selection(base(), BatchRange()).column.name


def test_a_select_with_a_limit_is_refused() -> None:
    """The batch would end too early."""

    class Limited(Rows):
        """Process some pairs."""

        def select(self) -> Any:
            """Return ten pairs."""
            return select(PAIRS).limit(10)

    with pytest.raises(ConfigurationError, match="has a limit or an offset"):
        make_selection(Limited(), BatchRange())


@given(KEYS)
def test_a_key_is_read_from_its_checkpoint_unchanged(key: Any) -> None:
    """With its value and its type."""
    again = decode(encode(key))

    assert (key, type(key)) == (again, type(again))


@pytest.mark.parametrize("key", [None, True, object(), [1]])
def test_a_value_that_can_not_be_a_key_is_refused(key: Any) -> None:
    """It is not converted to another type."""
    with pytest.raises(ConfigurationError, match="can't be the key of a batch"):
        encode(key)


def test_a_datetime_and_a_date_keep_their_types() -> None:
    """In Python a datetime is also a date."""
    assert date(2026, 1, 31) == decode(encode(date(2026, 1, 31)))
    assert datetime(2026, 1, 31, tzinfo=UTC) == decode(encode(datetime(2026, 1, 31, tzinfo=UTC)))


def test_bounds_do_not_change_the_identity_of_a_batch() -> None:
    """Names and parts do."""
    plain = identify(Rows(), "pairs go")

    assert plain.key == identify(Rows(max_rows=5, new_run=True), "pairs go").key
    assert plain.key != identify(Rows(), "pairs went").key
    assert plain.key != identify(Rows(), "pairs go", "1/2").key


def test_batches_grow_slowly_and_shrink_immediately() -> None:
    """Towards the time that they should take, and up to the largest size."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizes = []
    for seconds in (0.1, 0.1, 0.1, 0.1, 0.75, 3.0, 0.9):
        sizing.record(seconds, sizing.size)
        sizes.append(sizing.size)

    assert [1_200, 1_440, 1_728, 2_000, 2_000, 1_000, 1_000] == sizes


def test_a_batch_grows_only_if_the_larger_size_would_meet_the_aim() -> None:
    """So it grows after 0.6 s, but not after 0.7 s."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizing.record(0.7, 1_000)
    nearly_late = sizing.size
    sizing.record(0.6, 1_000)

    assert (1_000, 1_200) == (nearly_late, sizing.size)


def test_slow_batches_do_not_shrink_below_a_smallest_size() -> None:
    """Otherwise a constant delay in each batch would lead to one row; only conflicts may do so."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    for _ in range(20):
        sizing.record(5.0, sizing.size)
    smallest = sizing.size
    sizing.halve()
    sizing.record(5.0, sizing.size)

    assert (100, 50) == (smallest, sizing.size)


def test_a_last_batch_with_few_rows_does_not_change_the_size() -> None:
    """It was fast because it had few rows."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizing.record(0.001, 3)
    sizing.halve()

    assert 500 == sizing.size


def test_a_batch_of_one_row_can_grow_and_does_not_shrink_to_none() -> None:
    """Despite rounding."""
    sizing = Sizing(1, aim=0.75, largest=2_000)

    sizing.halve()
    sizing.record(0.001, 1)

    assert 2 == sizing.size


class Silent:
    """A fake connection whose commit is never answered, and the database that opens it."""

    url = parse_database_url("sqlite:///shop.db", Path(), "shop")
    dropped = False

    async def begin(self) -> None: ...

    async def commit(self) -> None:
        await asyncio.Event().wait()

    async def rollback(self) -> None:
        await self.commit()

    async def invalidate(self) -> None:
        self.dropped = True

    @asynccontextmanager
    async def connect(self, _role: str, **_: bool) -> AsyncIterator[Silent]:
        yield self


async def test_a_commit_without_an_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else may interrupt it, so a silent connection would block it indefinitely."""
    silent = Silent()
    monkeypatch.setattr(transactions, "COMMIT_TIMEOUT", 0.01)
    monkeypatch.setattr(transactions, "PATIENCE", 0.01)

    with pytest.raises(TimeoutError):
        async with transactions.Transactions(cast("Any", silent)).begin():
            pass

    assert silent.dropped


class Broken:
    """A fake connection, and its driver's, whose first statement fails."""

    @property
    def driver_connection(self) -> Broken:
        return self

    async def get_raw_connection(self) -> Broken:
        return self

    async def fetchval(self, _sql: str) -> int:
        raise InterfaceError("connection is closed")


async def test_a_connection_that_breaks_at_its_first_statement_counts_as_lost() -> None:
    """The error is the driver's own, because the statement does not go through SQLAlchemy."""
    with pytest.raises(Unavailable) as lost:
        await leads_through_pooler(cast("Any", Broken()))

    assert Fault.LOST is fault_of(lost.value)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"shards": -1}, "--shards -1 is less than 0"),
        ({"shards": 10_001}, "--shards 10001 is more than 10000"),
        ({"shard": "9/8"}, "--shard 9/8: K is not 1 to N, or N is more than 10000"),
        ({"shard": "0/8"}, "--shard 0/8: K is not 1 to N, or N is more than 10000"),
        ({"shard": "1/20000"}, "--shard 1/20000: K is not 1 to N, or N is more than 10000"),
        ({"shard": "3"}, "--shard '3' is not like 3/8 or auto/8"),
        ({"shard": "1/8", "shards": 8}, "--shard includes the number of shards; omit --shards"),
        ({"shard": "1/8", "new_run": True}, "--new-run would cancel the other shards too"),
        ({"fleet": True}, "--fleet needs --shards: the number of ranges"),
        ({"fleet": True, "shards": 2, "max_rows": 9}, "--fleet has no bounds"),
    ],
)
def test_invalid_shard_options_are_refused(values: dict[str, Any], problem: str) -> None:
    """When the command is created."""
    with pytest.raises(UsageError) as refused:
        Rows(**values)

    assert problem in str(refused.value)


@pytest.mark.parametrize("index", ["", "8", "-1", "one"])
def test_a_missing_or_invalid_kubernetes_index_is_refused(index: str) -> None:
    """The message has the variable and its value."""
    with pytest.raises(UsageError) as refused:
        Rows(shard="auto/8").shards_to_do({"JOB_COMPLETION_INDEX": index})

    found = repr(index) if index else "not set"
    assert f"--shard auto/8: JOB_COMPLETION_INDEX is {found}, not 0 to 7" == str(refused.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (0, 0)),
        ({"shards": 3}, (0, 3)),
        ({"shard": "2/3"}, (2, 3)),
        ({"shard": "auto/3"}, (1, 3)),
    ],
)
def test_a_command_returns_its_shard_and_the_number_of_shards(
    values: dict[str, Any], expected: tuple[int, int]
) -> None:
    """The index of Kubernetes starts at 0, the number of the shard at 1."""
    assert expected == Rows(**values).shards_to_do({"JOB_COMPLETION_INDEX": "0"})


@given(low=st.none() | KEYS, high=st.none() | KEYS)
def test_a_range_is_read_from_its_columns_unchanged(low: Any, high: Any) -> None:
    """With open ends and all types of keys."""
    limits = BatchRange(low, high)

    assert limits == restored(**stored(limits))
    assert None is restored(**stored(None))
