"""How many of something, in words."""

from __future__ import annotations

import pytest

from oneoff.utils.text import counted


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (1_500, "1,500 keys")]
)
def test_one_is_one(count: int, expected: str) -> None:
    """Everything else has an s."""
    assert expected == counted(count, "key")


def test_some_nouns_are_not_regular() -> None:
    """They are written out."""
    assert "2 dead entries" == counted(2, "dead entry", "dead entries")
