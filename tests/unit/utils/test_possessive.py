"""A repeated group gives no character back, in each spelling that is right in this Python."""

from __future__ import annotations

import re

import pytest

from oneoff.utils import possessive

SPELLINGS = [False, True] if possessive.IS_RIGHT else [False]


@pytest.mark.parametrize("is_right", SPELLINGS)
def test_a_repeated_group_takes_all_it_can_and_gives_nothing_back(
    monkeypatch: pytest.MonkeyPatch, *, is_right: bool
) -> None:
    """With a group that contains a choice or looks ahead, as those of secrets do."""
    monkeypatch.setattr(possessive, "IS_RIGHT", is_right)
    doubled, before_dollars = possessive.repeated("[^']|''"), possessive.repeated(r"(?!\$\$).")

    assert ["'a''b'"] == re.findall(f"'{doubled}'", "x 'a''b' y")
    assert [] == re.findall(f"'{doubled}b", "'ab")
    assert ["$$a$b$$"] == re.findall(rf"\$\${before_dollars}\$\$", "x $$a$b$$ y $$")
