"""Converting an entire column at once has the same result as converting each value."""

from __future__ import annotations

import pytest

from oneoff.services.data.columns import Column, Kind
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
