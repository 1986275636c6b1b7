"""Read csv: the header, then the rows below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.imports.errors import Problem, bad_file
from oneoff.services.data.imports.readers.base import BadRow, Chunk, Parsed, RawRow, Reader, Staged
from oneoff.services.data.imports.readers.csv_records import (
    RowStart,
    cell_count,
    cells_of,
    chunks,
    columns_of,
)
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

_OTHER_SEPARATORS = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}
_LONGEST_HEADER = 1 << 20


class Header(NamedTuple):
    """The first row of a csv file.

    Attributes:
        names: The names of the columns.
        raw: Its bytes, with the line end, without a byte order mark.
        lines: The number of its lines.
        mixed_line_ends: Whether some lines of the file end with CR LF and others differently.
    """

    names: tuple[str, ...]
    raw: bytes
    lines: int
    mixed_line_ends: bool

    @property
    def line_end(self) -> bytes:
        """The line end of the file, unless line ends are mixed."""
        return b"\r\n" if self.raw.endswith(b"\r\n") else b"\n"

    @property
    def first_row(self) -> RowStart:
        """The start of the first row below the header."""
        return RowStart(self.lines + 1, len(self.raw))


def read_header(source: Source, *, mixed_line_ends: bool = False) -> Header:
    """Return the header of a csv file.

    Args:
        source: The file.
        mixed_line_ends: Whether its lines end in different ways.

    Raises:
        DataError: The file is not csv.
    """
    stream = source.stream()
    raw = stream.readline(_LONGEST_HEADER)
    lines = 1
    # After an odd number of quotes a cell is open, and the header continues on the next line.
    while raw.count(b'"') % 2 and len(raw) < _LONGEST_HEADER:
        more = stream.readline(_LONGEST_HEADER)
        if not more:
            break
        raw, lines = raw + more, lines + 1
    line = raw.rstrip(b"\r\n")
    _refuse_other_formats(source, raw, line)
    if len(raw) >= _LONGEST_HEADER:
        raise bad_file(
            source.name,
            "has a first line of more than 1 MiB, which can't be a header",
            try_="start the file with a header line of column names",
        )
    if not line:
        raise bad_file(
            source.name,
            "has no header line",
            try_="start the file with a header line of column names",
        )
    return Header(tuple(cell or "" for cell in cells_of(line)), raw, lines, mixed_line_ends)


def _refuse_other_formats(source: Source, whole: bytes, line: bytes) -> None:
    if line.lstrip()[:1] in (b"{", b"["):
        raise bad_file(
            source.name,
            "contains JSON, not csv",
            try_="give --format jsonl, or --format json for an array",
        )
    unquoted = b"".join(whole.split(b'"')[::2])
    if b"\r" in unquoted.replace(b"\r\n", b"\n"):
        raise bad_file(
            source.name,
            "ends its lines with a carriage return alone",
            try_="convert the line ends with tr '\\r' '\\n'",
        )
    for sign, word in _OTHER_SEPARATORS.items():
        if unquoted.count(sign) > unquoted.count(b","):
            raise bad_file(
                source.name,
                f"separates columns with {word}, not with commas",
                try_="save it as csv with commas",
            )


class CsvReader(Reader):
    """Reads csv."""

    def __init__(self, source: Source, header: Header) -> None:
        self.source, self.header, self.names = source, header, header.names

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows below the header."""
        return chunks(self.source, self.header.first_row)

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Split the rows at their commas."""
        width = len(self.names)
        columns = columns_of(chunk, width)
        if columns is not None:
            return Parsed(range(len(chunk.raw_rows)), columns, ())
        rows = [cells_of(raw) for raw in chunk.raw_rows]
        bad = self._bad_rows(chunk, map(len, rows))
        left_out = {at for at, _ in bad}
        good = [at for at in range(len(rows)) if at not in left_out]
        return Parsed.of_rows(good, [rows[at] for at in good], bad)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return the rows with their number as an additional first cell."""
        # A row that COPY can't read would end the COPY of all rows, so such rows are found here.
        bad = self._bad_rows(chunk, map(cell_count, chunk.raw_rows))
        left_out = {at for at, _ in bad}
        lines = [
            b"%d,%b\n" % (first + at, raw)
            for at, raw in enumerate(chunk.raw_rows)
            if at not in left_out
        ]
        return Staged(b"".join(lines), bad)

    def _bad_rows(self, chunk: Chunk, counts: Iterable[int]) -> list[BadRow]:
        width = len(self.names)
        return [
            (at, problem)
            for at, found in enumerate(counts)
            if (problem := shape_problem(chunk.raw_row(at), found, width)) is not None
        ]

    def rejects_header(self) -> bytes:
        """Return the header as it is in the file."""
        return self.header.raw


def shape_problem(row: RawRow, found: int, width: int) -> Problem | None:
    """Return what is wrong with a row before its values are read; None if nothing is.

    Args:
        row: The row.
        found: The number of its cells.
        width: The number of cells that it must have.
    """
    raw = row.raw
    if found != width:
        what = f"the row has {counted(found, 'cell')}, not {width}"
        return Problem(row.line, what, state="cell-count")
    if b"\r" in raw and any(b"\r" in part for part in raw.split(b'"')[::2]):
        what = "the row contains a carriage return outside of quotes"
        return Problem(row.line, what, state="carriage-return")
    return None
