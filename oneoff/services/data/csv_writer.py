"""Lines of csv from the texts of cells, by the quoting rules of PostgreSQL's COPY.

Most blocks of rows need no quotes at all, and a look at the whole block says so: that costs a tenth
of looking at each cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EMPTY = b"\xff"
"""Stands for the empty text, as no UTF-8 text can be this byte; no bytes at all are NULL."""

_SPECIAL = re.compile(rb'[",\r\n]')
_END_OF_DATA = rb"\."


def csv_lines(rows: Sequence[Sequence[bytes]]) -> bytes:
    """Return the lines of some rows, each ended by a line feed.

    Args:
        rows: At least one; of texts, where nothing is NULL and `EMPTY` is the empty text.
    """
    lines = b"\n".join(map(b",".join, rows))
    if not _is_plain(lines, len(rows), len(rows[0])):
        lines = b"\n".join(b",".join(map(cell, row)) for row in rows)
        if len(rows[0]) == 1:
            # Bare, it would end the data.
            lines = b"\n".join(map(_kept, lines.split(b"\n")))
    return lines + b"\n"


def cell(text: bytes) -> bytes:
    """Return a text as it stands in a cell."""
    if text == EMPTY:
        return b'""'
    if _SPECIAL.search(text):
        return b'"' + text.replace(b'"', b'""') + b'"'
    return text


def _is_plain(lines: bytes, rows: int, columns: int) -> bool:
    return (
        b'"' not in lines
        and b"\r" not in lines
        and EMPTY not in lines
        and lines.count(b"\n") == rows - 1
        and lines.count(b",") == rows * (columns - 1)
        and (columns > 1 or _END_OF_DATA not in lines)
    )


def _kept(line: bytes) -> bytes:
    return b'"\\."' if line == _END_OF_DATA else line
