"""Find the first quote in a csv file that is not where csv allows one.

A cell is in quotes from its first to its last character, or it contains no quote. PostgreSQL's COPY
accepts other files too: it removes each quote that is not doubled, and joins two lines into one row
if the first of them has an odd number of quotes. So `5'10" x 6'2"` would change without an error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from oneoff.utils.possessive import repeated

# Cells without doubled quotes have a pattern of their own, which takes half the time.
_INSIDE = r'[^"]*+' + repeated(r'""[^"]*+')
_CELL_END = r'"[,\r\n]'
_CELL = repeated(r'"[^"]*+"[,\n]') + repeated(f'"{_INSIDE}{_CELL_END}', "?")
_CELLS = re.compile((repeated(rf'[^"]*+(?<=[,\n]){_CELL}') + r'[^"]*+').encode())
_REST_OF_CELL = re.compile(_INSIDE.encode())
_AT_CELL_END = re.compile(_CELL_END.encode())


class BadQuote(NamedTuple):
    """A quote that csv does not allow.

    Attributes:
        offset: The number of bytes before it.
        opened: The number of bytes before the quote that opens its cell; None if no quote does.
        closed: Whether a quote closes the cell before its end; otherwise the file ends inside it.
    """

    offset: int
    opened: int | None = None
    closed: bool = True


class QuoteScanner:
    """Scans a file block by block, and stops at the first quote that is not allowed.

    Attributes:
        bad: That quote; None if there is none so far.
    """

    def __init__(self) -> None:
        self.bad: BadQuote | None = None
        self._opened: int | None = None
        # The file's bytes from `_offset` on that were not scanned so far: the character before the
        # next one, then quotes whose meaning depends on the next block.
        self._left, self._offset = b"\n", -1

    def scan(self, block: bytes) -> None:
        """Scan the next bytes of the file."""
        if self.bad is not None:
            return
        if b'"' in block or b'"' in self._left:
            self._scan(self._left + block)
        else:
            self._keep(len(self._left) + len(block), block[-1:])

    def finish(self) -> BadQuote | None:
        """Return the first quote that is not allowed, after the last block was scanned."""
        self.scan(b"\n")
        if self.bad is None and self._opened is not None:
            self.bad = BadQuote(self._opened, self._opened, closed=False)
        return self.bad

    def _keep(self, size: int, end: bytes) -> None:
        """Keep the end of a text of `size` bytes for the next block."""
        self._offset += size - len(end)
        self._left = end

    def _scan(self, text: bytes) -> None:
        size, at = len(text.rstrip(b'"')), 1
        if self._opened is not None:
            at = self._close(text, at, size)
        while self.bad is None and (at := _end_of(_CELLS, text, at, size)) < size:
            if text[at - 1 : at] not in (b",", b"\n"):
                self.bad = BadQuote(self._offset + at)
                return
            self._opened = self._offset + at
            at = self._close(text, at + 1, size)
        self._keep(len(text), text[size - 1 :])

    def _close(self, text: bytes, at: int, size: int) -> int:
        """Skip the rest of a cell in quotes; return the position after its closing quote."""
        end = _end_of(_REST_OF_CELL, text, at, size)
        if end >= size:
            return end
        if not _AT_CELL_END.match(text, end):
            self.bad = BadQuote(self._offset + end, self._opened)
        self._opened = None
        return end + 1


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int, size: int) -> int:
    """Return the end of a match in the first `size` bytes; both patterns match the empty text."""
    found = pattern.match(text, at, size)
    return found.end() if found else at
