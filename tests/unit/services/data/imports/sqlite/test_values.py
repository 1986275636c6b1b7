"""Converting an entire column at once has the same result as converting each value."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oneoff.database import sqlstates
from oneoff.services.data.columns import Column, Kind, float_text
from oneoff.services.data.imports.sqlite.values import BadValue, convert

MOMENTS = (
    "2026-01-31 09:30:00",
    "2026-01-31 09:30:00.5",
    "2026-01-31 09:30:00.123456",
    "2026-01-31T09:30:00.123456",
    "2026-01-31 09:30:00.1234567",
    "2026-01-31 09:30:00.",
    "2026-01-31 09:30",
    "2026-01-31",
    "2026-02-30 09:30:00.123456",
    "2026-01-31 24:00:00.000000",
    "2026-W05-6 09:30:00.123456",
    "20260131 09:30:00.12345-05",
    "2026-01-31 09:30:00.123-05",
    "2026-01-31 09:30:00.123+05",
    "2026-01-31 09:30:00.12345Z",
    "2026-01-31 09:30:00+00",
    "2026-01-31 09:30:00.5+00",
    "2026-01-31 09:30:00+00:00",
    "2026-01-31 09:30:00+00+00",
    "",
)
CASES = {
    Kind.INSTANT: MOMENTS,
    Kind.TIMESTAMP: MOMENTS,
    Kind.BOOLEAN: ("t", "f", "TRUE", " no ", "1", "maybe", ""),
    Kind.INTEGER: ("1", "+2", " 3 ", "1_0", "٣", "9" * 18, str(2**63 - 1), str(2**63), "9" * 5000),
    Kind.TEXT: ("", "abcd", "abcde"),
}


ALONE = {
    Kind.INSTANT: "2026-01-31T00:00:00+01",
    Kind.TIMESTAMP: "2026-01-31T00:00",
    Kind.BOOLEAN: " T ",
    Kind.INTEGER: " 1 ",
}
"""Texts that make the entire column be converted one by one."""


def read(kind: Kind, *values: str | None) -> list[object]:
    """Return the converted values, or the SQLSTATE of the first bad one."""
    column = Column("c", kind, "VARCHAR(4)" if kind is Kind.TEXT else "")
    try:
        return list(convert(column, values))
    except BadValue as exc:
        return [exc.state]


@pytest.mark.parametrize("kind", CASES)
def test_a_column_is_converted_like_its_single_values(kind: Kind) -> None:
    """Each text is converted twice with NULL between, and beside a text that needs the slow way."""
    for text in CASES[kind]:
        slowly = read(kind, ALONE.get(kind, ""), text)[-1:]

        quickly = read(kind, text, None, text)

        expected = slowly if len(quickly) == 1 else [*slowly, None, *slowly]
        assert expected == quickly, text


@pytest.mark.parametrize("kind", CASES)
def test_a_value_is_converted_independently_of_the_other_values(kind: Kind) -> None:
    """Two valid values in one column have the same result as each one alone."""
    good = [text for text in CASES[kind] if len(read(kind, text, None)) == 2]
    for first in good:
        for second in good:
            expected = [read(kind, first, None)[0], read(kind, second, None)[0]]

            assert expected == read(kind, first, second), (first, second)


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        (Kind.NUMERIC, "numeric(10, 2)"),
        (Kind.FLOAT, "double"),
        (Kind.JSON, "JSON"),
        (Kind.OTHER, "money"),
        (Kind.INTERVAL, "interval"),
    ],
)
def test_a_number_that_sqlite_would_store_as_infinity_is_refused(kind: Kind, declared: str) -> None:
    """In every column in which SQLite stores a text that looks like a number as a number."""
    with pytest.raises(BadValue) as caught:
        convert(Column("c", kind, declared), ["1", "-1e400"])

    assert (1, sqlstates.NUMERIC_VALUE_OUT_OF_RANGE) == (caught.value.at, caught.value.state)


@pytest.mark.parametrize("declared", ["TEXT", "VARCHAR", ""])
def test_a_column_that_stores_texts_takes_every_number(declared: str) -> None:
    """Also as JSON, and as a decimal of any size."""
    for kind in (Kind.NUMERIC, Kind.JSON, Kind.OTHER):
        assert ["1e400"] == list(convert(Column("c", kind, declared), ["1e400"]))


def test_a_decimal_stored_as_text_has_no_precision() -> None:
    """The number in VARCHAR(20) is a length."""
    assert ["1.50"] == list(convert(Column("c", Kind.NUMERIC, "VARCHAR(20)"), ["1.50"]))


@given(st.floats(allow_nan=False))
@example(-8.501019900530849e-307)
def test_a_decimal_is_stored_as_the_nearest_number(value: float) -> None:
    """SQLite would convert some texts of 17 digits to another number."""
    column = Column("c", Kind.NUMERIC, "numeric")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (c numeric)")
        connection.execute("INSERT INTO t VALUES (?)", convert(column, [float_text(value)]))

        assert [(value,)] == connection.execute("SELECT c FROM t").fetchall()


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, -(2**63) + 1])
def test_an_integer_in_a_decimal_column_keeps_its_digits(value: int) -> None:
    """All of the digits that fit into 64 bits."""
    column = Column("c", Kind.NUMERIC, "numeric(21, 2)")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (c numeric)")
        connection.execute("INSERT INTO t VALUES (?)", convert(column, [f"{value}.00"]))
        connection.execute("INSERT INTO t VALUES (?)", convert(column, [str(value)]))

        assert [(value,), (value,)] == connection.execute("SELECT c FROM t").fetchall()
