"""Marks in a file that passes by: one at or before each line, and only where a row begins."""

from __future__ import annotations

import pytest

from oneoff.services.data.imports.readers.line_index import Mark, Trail

TEXT = b'1,a\n2,"b\nb\n"\n3,c\n4,"d\n"\n5,e\n'
BEGINS = {Mark(1, 0), Mark(2, 4), Mark(5, 13), Mark(6, 17), Mark(8, 24)}


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_a_mark_is_where_a_row_begins(size: int) -> None:
    """However the bytes are cut to blocks; the end of the file counts as one."""
    trail = Trail(Mark(1, 0))
    for at in range(0, len(TEXT), size):
        trail.passed(TEXT[at : at + size])

    marks = {line: trail.before(line) for line in range(1, 9)}

    assert set(marks.values()) <= BEGINS | {Mark(9, len(TEXT))}
    assert all(mark.line <= line for line, mark in marks.items())


def test_each_block_leaves_a_mark() -> None:
    """So that little is read again."""
    trail = Trail(Mark(2, 10))

    lines = [trail.passed(b"1,a\n2,"), trail.passed(b"b\n3,c\n4")]

    assert [1, 2] == lines
    assert [Mark(2, 10), Mark(3, 14), Mark(3, 14), Mark(5, 22)] == [
        trail.before(line) for line in (2, 3, 4, 5)
    ]
