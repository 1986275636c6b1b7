"""Split csv into rows and cells by the rules of PostgreSQL's COPY, and find a row by its line.

Nothing between two commas is NULL, "" is the empty text. A row ends with LF or CR LF outside of
quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.imports.readers.base import Chunk, RawRow, Row

if TYPE_CHECKING:
    from oneoff.services.data.imports.source import Source

_FIELD = re.compile(r'((?:[^",]|"(?:[^"]|"")*")*)(,|$)')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

Skip = Callable[[bytes, int], bool]
"""Return whether to leave out a block. Called with complete lines and the number of the first one.
"""


class RowStart(NamedTuple):
    """The start of a row: its line (the first is 1), and the number of bytes before it."""

    line: int
    offset: int


class LineIndex:
    """An index of a streamed file, to find a row by its line.

    It keeps the start of one row for each block. Without it, the file would have to be read again
    from its start to find a bad row, which may take a tenth of the import's time.

    Args:
        start: The start of the first row.
    """

    def __init__(self, start: RowStart) -> None:
        self._starts = [start]
        self._line, self._offset = start
        self._quotes = 0

    def add(self, block: bytes) -> int:
        """Store the last row that starts in a block; return the number of lines that end in it."""
        lines, end = block.count(b"\n"), block.rfind(b"\n") + 1
        quotes = block.count(b'"', 0, end)
        # After an odd number of quotes the line feed is inside a cell, and no row starts there.
        if lines and (self._quotes + quotes) % 2 == 0:
            self._starts.append(RowStart(self._line + lines, self._offset + end))
        self._quotes += quotes + block.count(b'"', end)
        self._line += lines
        self._offset += len(block)
        return lines

    def find(self, line: int) -> RowStart:
        """Return the last known start of a row at or before a line."""
        at = bisect_right(self._starts, line, key=lambda start: start.line)
        return self._starts[max(at - 1, 0)]


def chunks(source: Source, start: RowStart, skip: Skip | None = None) -> Iterator[Chunk]:
    """Yield the rows of a file, one chunk for each block that is read.

    Args:
        source: The file.
        start: The start of the first row to yield.
        skip: Returns whether a block of complete rows can be left out.
    """
    line, offset = start
    # A block consists of three parts: lines that contain complete rows, lines of a last row whose
    # closing quote is in a later block (`unfinished`), and a last line whose end is in the next
    # block (`rest`). The last two are put before the next block, and `line` is their first line.
    rest = b""
    for block in source.read_blocks(offset):
        whole, end, rest = (rest + block).rpartition(b"\n")
        if not end:
            continue
        # With an odd number of quotes the last row is incomplete, and can't be skipped yet.
        if skip is not None and not whole.count(b'"') % 2 and skip(whole, line):
            line += whole.count(b"\n") + 1
            continue
        raw_rows, lines, unfinished = _split(whole, line)
        if raw_rows:
            rows = _without_returns(raw_rows) if b"\r" in whole else raw_rows
            yield Chunk(line, rows, lines, len(block))
        line += whole.count(b"\n") + 1 - len(unfinished)
        rest = b"\n".join([*unfinished, rest])
    if rest:  # the last row, without a line feed
        yield Chunk(line, [rest], [line] if b'"' in rest else None, 0)


def _split(whole: bytes, line: int) -> tuple[list[bytes], list[int] | None, Sequence[bytes]]:
    """Split complete lines into rows.

    Returns:
        The rows; the line in which each one starts, or None if each row is one line; and the lines
        of a last row whose closing quote is missing so far.
    """
    parts = whole.split(b"\n")
    if b'"' not in whole:
        return parts, None, ()
    raw_rows: list[bytes] = []
    lines: list[int] = []
    # A doubled quote counts twice, so a quote is open exactly if the count is odd.
    start, is_open = 0, False
    for at, part in enumerate(parts):
        if b'"' in part:
            is_open ^= bool(part.count(b'"') % 2)
        if not is_open:
            raw_rows.append(part if at == start else b"\n".join(parts[start : at + 1]))
            lines.append(line + start)
            start = at + 1
    return raw_rows, lines, parts[start:]


def _without_returns(raw_rows: Sequence[bytes]) -> list[bytes]:
    return [raw.removesuffix(b"\r") for raw in raw_rows]


def columns_of(chunk: Chunk, width: int) -> list[list[str | None]] | None:
    """Split all rows of a chunk at once, and return the cells of each column.

    Returns:
        None if that is impossible: a row contains a quote or a carriage return, or does not have
        `width` cells.
    """
    if chunk.lines is not None:
        return None
    rows, step = len(chunk.raw_rows), width + 1
    # A line feed is inserted as an additional cell between two rows. A cell without quotes can't
    # contain one. So if all line feeds are at the expected positions, each row has `width` cells.
    joined = b",\n,".join(chunk.raw_rows)
    if b"\r" in joined:
        return None
    cells = joined.decode().split(",")
    if len(cells) != rows * step - 1 or cells[width::step] != ["\n"] * (rows - 1):
        return None
    return [_with_nulls(cells[at::step]) for at in range(width)]


def _with_nulls(cells: list[str]) -> list[str | None]:
    if not any(cells):
        return [None] * len(cells)
    return cells if all(cells) else [cell or None for cell in cells]  # type: ignore[return-value]


def cells_of(raw: bytes) -> Row:
    """Return the cells of a row; None for NULL."""
    text = raw.decode(errors="replace")
    if '"' not in text:
        return [cell or None for cell in text.split(",")]
    cells: Row = []
    for found in _FIELD.finditer(text):
        field = found[1]
        cells.append(_unquoted(field) if '"' in field else field or None)
        if not found[2]:
            break
    return cells


def cell_count(raw: bytes) -> int:
    """Return the number of cells of a row."""
    return len(cells_of(raw)) if b'"' in raw else raw.count(b",") + 1


def _unquoted(field: str) -> str:
    return _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), field)


def find_row(source: Source, start: RowStart, line: int) -> RawRow | None:
    """Return the row that contains a line; `start` must be at or before that row."""

    def ends_before(whole: bytes, first: int) -> bool:
        return first + whole.count(b"\n") < line

    found = None
    for chunk in chunks(source, start, ends_before):
        for at in range(len(chunk.raw_rows)):
            row = chunk.raw_row(at)
            if row.line > line:
                return found
            found = row
    return found


def find_row_with(
    source: Source, start: RowStart, positions: Sequence[int], values: Sequence[str]
) -> RawRow | None:
    """Return the last row with these values in the columns at these positions."""
    # Inside a cell quotes are doubled, so only the part of a value before its first quote is in the
    # file unchanged.
    sought, wanted, found = values[0].partition('"')[0].encode(), list(values), None
    for chunk in chunks(source, start, lambda whole, _: sought not in whole):
        for at, raw in enumerate(chunk.raw_rows):
            if sought in raw:
                cells = cells_of(raw)
                if [cells[i] for i in positions if i < len(cells)] == wanted:
                    found = chunk.raw_row(at)
    return found
