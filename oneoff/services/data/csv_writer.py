"""Write csv lines from the texts of cells, quoted in the same way as PostgreSQL's COPY.

Most blocks of rows need no quotes. Checking an entire block takes a tenth of the time that checking
each cell takes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EMPTY = b"\xff"
"""The cell for an empty text: a byte that never occurs in UTF-8. A cell without bytes is NULL."""

_SPECIAL = re.compile(rb'[",\r\n]')
_END_OF_DATA = rb"\."


def csv_lines(rows: Sequence[Sequence[bytes]]) -> bytes:
    """Return the rows as csv lines, each followed by a line feed.

    Args:
        rows: At least one row; all have the same length.
    """
    lines = b"\n".join(map(b",".join, rows))
    if _needs_quotes(lines, len(rows), len(rows[0])):
        lines = b"\n".join(b",".join(map(_quoted, row)) for row in rows)
        if len(rows[0]) == 1:
            # COPY would read this line, if it is not quoted, as the end of the data.
            lines = b"\n".join(
                b'"\\."' if line == _END_OF_DATA else line for line in lines.split(b"\n")
            )
    return lines + b"\n"


def _quoted(text: bytes) -> bytes:
    if text == EMPTY:
        return b'""'
    if _SPECIAL.search(text):
        return b'"' + text.replace(b'"', b'""') + b'"'
    return text


def _needs_quotes(lines: bytes, rows: int, columns: int) -> bool:
    """Return whether any cell of these unquoted lines needs quotes."""
    # A comma or a line feed inside a cell makes the number of them larger than the rows need.
    return (
        b'"' in lines
        or b"\r" in lines
        or EMPTY in lines
        or lines.count(b"\n") != rows - 1
        or lines.count(b",") != rows * (columns - 1)
        or (columns == 1 and _END_OF_DATA in lines)
    )
