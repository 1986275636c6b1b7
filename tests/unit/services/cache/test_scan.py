"""Count each key that SCAN returns once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from oneoff.services.cache import scan
from oneoff.services.cache.scan import KeyCounter

if TYPE_CHECKING:
    import pytest


@given(st.lists(st.lists(st.binary(max_size=2))))
def test_each_key_counts_once(pages: list[list[bytes]]) -> None:
    """Even if it is returned several times, on any page."""
    counter = KeyCounter()
    for page in pages:
        counter.add(page)

    assert len({key for page in pages for key in page}) == counter.total()
    assert counter.exact


def test_keys_beyond_the_limit_are_counted_as_inexact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory is bounded, because keys beyond the limit are not compared."""
    monkeypatch.setattr(scan, "MOST_DISTINCT", 1_000)
    counter = KeyCounter()
    for start in range(0, 1_500, 500):
        counter.add(str(number).encode() for number in range(start, start + 500))
    counter.add([b"0"])

    assert (1_501, False) == (counter.total(), counter.exact)
    assert 1_000 == sum(len(part) for part in counter._hashes)
