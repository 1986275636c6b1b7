"""Where rows begin in a file that passes by, so that one can be looked up by its line.

To read all that is before a bad row at the end once more would cost a tenth of the import.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Mark(NamedTuple):
    """Where a row begins: its line, the first is 1, and the bytes before it."""

    line: int
    offset: int


class Trail:
    """One mark for each block that has passed.

    Args:
        begin: Where the first row begins.
    """

    def __init__(self, begin: Mark) -> None:
        self._marks = [begin]
        self._line, self._offset = begin
        self._quotes = 0

    def passed(self, block: bytes) -> int:
        """Mark the last row that begins in a block, and return how many lines end in it."""
        lines, end = block.count(b"\n"), block.rfind(b"\n") + 1
        quotes = block.count(b'"', 0, end)
        if lines and (self._quotes + quotes) % 2 == 0:  # else the line's end is within quotes
            self._marks.append(Mark(self._line + lines, self._offset + end))
        self._quotes += quotes + block.count(b'"', end)
        self._line += lines
        self._offset += len(block)
        return lines

    def before(self, line: int) -> Mark:
        """Return the last mark at or before a line."""
        return self._marks[max(bisect_right(self._marks, line, key=lambda mark: mark.line) - 1, 0)]
