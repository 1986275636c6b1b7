"""Marks in a file that passes by: one at or before each line, and only where a row begins."""

from __future__ import annotations

import pytest

from oneoff.services.data.imports.readers.csv_records import LineIndex, RowStart

TEXT = b'1,a\n2,"b\nb\n"\n3,c\n4,"d\n"\n5,e\n'
BEGINS = {RowStart(1, 0), RowStart(2, 4), RowStart(5, 13), RowStart(6, 17), RowStart(8, 24)}


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_a_mark_is_where_a_row_begins(size: int) -> None:
    """However the bytes are cut to blocks; the end of the file counts as one."""
    index = LineIndex(RowStart(1, 0))
    for at in range(0, len(TEXT), size):
        index.add(TEXT[at : at + size])

    marks = {line: index.find(line) for line in range(1, 9)}

    assert set(marks.values()) <= BEGINS | {RowStart(9, len(TEXT))}
    assert all(mark.line <= line for line, mark in marks.items())


def test_each_block_leaves_a_mark() -> None:
    """So that little is read again."""
    index = LineIndex(RowStart(2, 10))

    lines = [index.add(b"1,a\n2,"), index.add(b"b\n3,c\n4")]

    assert [1, 2] == lines
    assert [RowStart(2, 10), RowStart(3, 14), RowStart(3, 14), RowStart(5, 22)] == [
        index.find(line) for line in (2, 3, 4, 5)
    ]
