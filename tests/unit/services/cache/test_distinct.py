"""Counting different things in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from oneoff.services.cache import distinct
from oneoff.services.cache.distinct import DistinctCounter

if TYPE_CHECKING:
    import pytest


@given(st.lists(st.lists(st.binary(max_size=2))))
def test_each_thing_counts_once(added: list[list[bytes]]) -> None:
    """However often it is added, and in whichever group."""
    with DistinctCounter() as counter:
        for things in added:
            counter.add(things)

        assert len({thing for things in added for thing in things}) == counter.count()


def test_what_does_not_fit_into_memory_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, whether it comes again before or after the rest was written to the file."""
    monkeypatch.setattr(distinct, "IN_MEMORY", 1_000)
    with DistinctCounter() as counter:
        for start in range(0, 10_000, 500):
            counter.add(str(number).encode() for number in range(start, start + 900))

        assert 10_400 == counter.count()
        assert counter._in_memory <= 1_900
