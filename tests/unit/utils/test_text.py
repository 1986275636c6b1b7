"""Counts with their nouns, and lists of names."""

from __future__ import annotations

import pytest

from oneoff.utils.text import counted, split_names


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (1_500, "1,500 keys")]
)
def test_only_one_has_the_singular(count: int, expected: str) -> None:
    """Other counts have the plural."""
    assert expected == counted(count, "key")


def test_an_irregular_plural_can_be_given() -> None:
    """It replaces the default plural in -s."""
    assert "2 dead entries" == counted(2, "dead entry", "dead entries")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("id", ["id"]),
        (" id , email,", ["id", "email"]),
        ('id,"last, first"', ["id", "last, first"]),
        ('"a ""b""", c', ['a "b"', "c"]),
        ('it"s,5"', ['it"s', '5"']),
    ],
)
def test_names_are_separated_by_commas_except_in_quotes(text: str, names: list[str]) -> None:
    """A quote inside a name that is not in quotes is a part of it."""
    assert names == split_names(text)
