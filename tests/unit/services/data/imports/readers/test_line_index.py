"""The index of a streamed file finds the start of a row at or before each line."""

from __future__ import annotations

import pytest

from oneoff.services.data.imports.readers.csv_records import LineIndex, RowStart

TEXT = b'1,a\n2,"b\nb\n"\n3,c\n4,"d\n"\n5,e\n'
BEGINS = {RowStart(1, 0), RowStart(2, 4), RowStart(5, 13), RowStart(6, 17), RowStart(8, 24)}


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_the_index_finds_the_start_of_a_row(size: int) -> None:
    """However the bytes are split into blocks; the end of the file counts as a row."""
    index = LineIndex(RowStart(1, 0))
    for at in range(0, len(TEXT), size):
        index.add(TEXT[at : at + size])

    starts = {line: index.find(line) for line in range(1, 9)}

    assert set(starts.values()) <= BEGINS | {RowStart(9, len(TEXT))}
    assert all(start.line <= line for line, start in starts.items())


def test_the_index_keeps_one_row_of_each_block() -> None:
    """So only a small part of the file is read again."""
    index = LineIndex(RowStart(2, 10))

    lines = [index.add(b"1,a\n2,"), index.add(b"b\n3,c\n4")]

    assert [1, 2] == lines
    assert [RowStart(2, 10), RowStart(3, 14), RowStart(3, 14), RowStart(5, 22)] == [
        index.find(line) for line in (2, 3, 4, 5)
    ]
