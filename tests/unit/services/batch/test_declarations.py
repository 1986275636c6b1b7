"""What a batch command declares, and the small parts of its engine."""

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
from oneoff.database.engine import leads_through_pooler
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
    """Go through the pairs."""

    key = "code"

    def select(self) -> Any:
        """Return all of them."""
        return select(PAIRS)

    async def process(self, session: Any, batch: Any) -> int:
        """Do nothing."""
        return 0


class Ranges(BatchCommand):
    """Delete the pairs."""

    range_column = "left"

    def change(self) -> Any:
        """Delete all of them."""
        return delete(PAIRS)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"select": lambda _: 0, "change": lambda _: 0}, "declares both select and change"),
        ({"select": lambda _: 0}, "declares select, so it needs process too"),
        ({"change": lambda _: 0}, "declares change, so it needs range_column too"),
    ],
)
def test_a_class_that_does_not_fit_together_does_not_load(
    body: dict[str, Any], problem: str
) -> None:
    """The message says what is missing."""
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
def test_a_key_that_could_lose_rows_is_refused(
    base: type[BatchCommand], column: str, problem: str
) -> None:
    """Before anything is done."""
    name = "key" if base is Rows else "range_column"
    wrong: Any = type("Wrong", (base,), {"__doc__": "Wrong.", name: column})

    with pytest.raises(ConfigurationError, match=problem):
        make_selection(wrong(), BatchRange())


@pytest.mark.parametrize("base", [Rows, Ranges])
def test_a_key_that_fits_is_taken(base: type[BatchCommand]) -> None:
    """A unique column, or one that an index begins with."""
    expected = {Rows: "code", Ranges: "left"}[base]

    assert expected == make_selection(base(), BatchRange()).column.name


def test_a_select_with_a_limit_is_refused() -> None:
    """It would end after the first batch."""

    class Limited(Rows):
        """Go through some."""

        def select(self) -> Any:
            """Return ten."""
            return select(PAIRS).limit(10)

    with pytest.raises(ConfigurationError, match="--max-rows is for that"):
        make_selection(Limited(), BatchRange())


@given(KEYS)
def test_a_key_comes_back_from_its_checkpoint_as_it_was(key: Any) -> None:
    """Every type, exactly."""
    again = decode(encode(key))

    assert (key, type(key)) == (again, type(again))


@pytest.mark.parametrize("key", [None, True, object(), [1]])
def test_what_is_no_key_is_refused(key: Any) -> None:
    """Rather than written down as something else."""
    with pytest.raises(ConfigurationError, match="can't be the key of a batch"):
        encode(key)


def test_an_instant_and_a_day_are_told_apart() -> None:
    """One is a kind of the other in Python."""
    assert date(2026, 1, 31) == decode(encode(date(2026, 1, 31)))
    assert datetime(2026, 1, 31, tzinfo=UTC) == decode(encode(datetime(2026, 1, 31, tzinfo=UTC)))


def test_bounds_do_not_make_it_another_batch() -> None:
    """Names and parts do."""
    plain = identify(Rows(), "pairs go")

    assert plain.key == identify(Rows(max_rows=5, new_run=True), "pairs go").key
    assert plain.key != identify(Rows(), "pairs went").key
    assert plain.key != identify(Rows(), "pairs go", "1/2").key


def test_batches_grow_by_little_and_shrink_at_once() -> None:
    """Towards the time they aim at, and never beyond the largest."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizes = []
    for seconds in (0.1, 0.1, 0.1, 0.1, 0.75, 3.0, 0.9):
        sizing.record(seconds, sizing.size)
        sizes.append(sizing.size)

    assert [1_200, 1_440, 1_728, 2_000, 2_000, 1_000, 1_000] == sizes


def test_a_batch_grows_only_where_it_would_still_be_within_its_aim() -> None:
    """One that was made smaller by a slow moment finds back; one that is nearly late stays."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizing.record(0.7, 1_000)
    nearly_late = sizing.size
    sizing.record(0.6, 1_000)

    assert (1_000, 1_200) == (nearly_late, sizing.size)


def test_slowness_alone_does_not_shrink_batches_to_nothing() -> None:
    """A pause in each batch would otherwise end at one row; a conflict may lead there."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    for _ in range(20):
        sizing.record(5.0, sizing.size)
    smallest = sizing.size
    sizing.halve()
    sizing.record(5.0, sizing.size)

    assert (100, 50) == (smallest, sizing.size)


def test_a_short_last_batch_teaches_nothing() -> None:
    """It was quick because it had no rows."""
    sizing = Sizing(1_000, aim=0.75, largest=2_000)

    sizing.record(0.001, 3)
    sizing.halve()

    assert 500 == sizing.size


def test_a_batch_of_one_row_still_grows_and_never_vanishes() -> None:
    """Rounding must not hold it there."""
    sizing = Sizing(1, aim=0.75, largest=2_000)

    sizing.halve()
    sizing.record(0.001, 1)

    assert 2 == sizing.size


class Silent:
    """A connection whose commit is never answered, and the database that gives it."""

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


async def test_a_commit_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else may interrupt it, so a connection that fell silent would hang for ever."""
    silent = Silent()
    monkeypatch.setattr(transactions, "COMMIT_TIMEOUT", 0.01)
    monkeypatch.setattr(transactions, "PATIENCE", 0.01)

    with pytest.raises(TimeoutError):
        async with transactions.Transactions(cast("Any", silent)).begin():
            pass

    assert silent.dropped


class Broken:
    """A connection that breaks as soon as it is asked something, and its driver."""

    @property
    def driver_connection(self) -> Broken:
        return self

    async def get_raw_connection(self) -> Broken:
        return self

    async def fetchval(self, _sql: str) -> int:
        raise InterfaceError("connection is closed")


async def test_a_connection_that_breaks_at_its_first_question_is_tried_again() -> None:
    """Past SQLAlchemy the driver's errors are its own; a batch has to know them all the same."""
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
def test_shards_that_make_no_sense_are_refused(values: dict[str, Any], problem: str) -> None:
    """Before anything is asked."""
    with pytest.raises(UsageError) as refused:
        Rows(**values)

    assert problem in str(refused.value)


@pytest.mark.parametrize("index", ["", "8", "-1", "one"])
def test_a_shard_that_kubernetes_does_not_say_is_refused(index: str) -> None:
    """The variable is named, with what stands in it."""
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
def test_a_command_says_which_shards_it_does(
    values: dict[str, Any], expected: tuple[int, int]
) -> None:
    """Kubernetes counts from 0."""
    assert expected == Rows(**values).shards_to_do({"JOB_COMPLETION_INDEX": "0"})


@given(low=st.none() | KEYS, high=st.none() | KEYS)
def test_a_range_comes_back_from_its_columns_as_it_was(low: Any, high: Any) -> None:
    """Open ends and all types of keys."""
    limits = BatchRange(low, high)

    assert limits == restored(**stored(limits))
    assert None is restored(**stored(None))
