"""Records of csv, by the rules of PostgreSQL's COPY: nothing is NULL, "" is the empty text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.imports.errors import Problem, bad_file
from oneoff.services.data.imports.readers.line_index import Mark

if TYPE_CHECKING:
    from oneoff.services.data.imports.source import Source

_FIELD = re.compile(r'((?:[^",]|"(?:[^"]|"")*")*)(,|$)')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_OTHER_SEPARATORS = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}
_LONGEST_HEADER = 1 << 20

Cells = list[str | None]
Skip = Callable[[bytes, int], bool]
"""Told some whole rows, without the last line's end, and the first line's number."""


class Record(NamedTuple):
    """One row of a file.

    Attributes:
        line: Where it begins; the first is 1.
        raw: Its bytes, without the line's end.
    """

    line: int
    raw: bytes


class Chunk(NamedTuple):
    """Rows that follow one another.

    Attributes:
        line: Where the first begins.
        raws: Their bytes, without the lines' ends.
        lines: Where each begins; None where each is one line.
        size: Bytes that were read for them.
    """

    line: int
    raws: Sequence[bytes]
    lines: Sequence[int] | None
    size: int

    def record(self, at: int) -> Record:
        """Return one of the rows."""
        line = self.line + at if self.lines is None else self.lines[at]
        return Record(line, self.raws[at])


def lines_of(chunk: Chunk) -> bytes:
    """Return rows with a line feed behind each."""
    return b"\n".join([*chunk.raws, b""])


class Header(NamedTuple):
    """The first record of a csv file.

    Attributes:
        names: Of the columns.
        raw: Its bytes, with the line's end.
        lines: Lines it takes.
        mixed: Whether some lines of the file end as on Windows, and others in another way.
    """

    names: tuple[str, ...]
    raw: bytes
    lines: int
    mixed: bool

    @property
    def size(self) -> int:
        """Bytes up to the first row, without a byte order mark."""
        return len(self.raw)

    @property
    def end(self) -> bytes:
        """How all lines of the file end, if that isn't mixed."""
        return b"\r\n" if self.raw.endswith(b"\r\n") else b"\n"

    @property
    def begin(self) -> Mark:
        """Where the first row begins."""
        return Mark(self.lines + 1, self.size)


def read_header(source: Source, *, mixed: bool = False) -> Header:
    """Return the line of names.

    Args:
        source: The file.
        mixed: Whether its lines end in different ways.

    Raises:
        DataError: The file is no csv.
    """
    stream = source.stream()
    raw = stream.readline(_LONGEST_HEADER)
    lines = 1
    while raw.count(b'"') % 2 and len(raw) < _LONGEST_HEADER:
        more = stream.readline(_LONGEST_HEADER)
        if not more:
            raise bad_file(source.name, "has a quote in its first line that is never closed")
        raw, lines = raw + more, lines + 1
    if len(raw) >= _LONGEST_HEADER:
        raise bad_file(
            source.name,
            "has a first line of more than a mebibyte, which are no names",
            try_="csv begins with a line of names",
        )
    line = raw.rstrip(b"\r\n")
    if not line:
        raise bad_file(source.name, "has no line of names", try_="csv begins with one")
    _refuse_other_formats(source, raw, line)
    names = tuple(cell or "" for cell in cells_of(line))
    return Header(names, raw, lines, mixed)


def _refuse_other_formats(source: Source, whole: bytes, line: bytes) -> None:
    if line.lstrip()[:1] in (b"{", b"["):
        raise bad_file(
            source.name, "holds JSON, not csv", try_="--format jsonl, or --format json for an array"
        )
    if b"\r" in line and not whole.endswith(b"\n"):
        raise bad_file(
            source.name, "ends its lines with a carriage return alone", try_="tr '\\r' '\\n'"
        )
    for sign, word in _OTHER_SEPARATORS.items():
        if sign in line and b"," not in line:
            raise bad_file(
                source.name,
                f"separates its columns by {word}, not by commas",
                try_="save it as csv with commas",
            )


def chunks(
    source: Source, header: Header, skip: Skip | None = None, begin: Mark | None = None
) -> Iterator[Chunk]:
    """Give the rows of a file, a chunk for each block that is read.

    A row ends with a line feed, or a carriage return and one.

    Args:
        source: The file.
        header: Its first record.
        skip: Says which blocks of whole rows are left out.
        begin: Where to begin; with the first row if not said.
    """
    line, offset = begin or header.begin
    rest = b""
    for block in source.read_blocks(offset):
        whole, end, rest = (rest + block).rpartition(b"\n")
        if not end:
            continue
        # An odd number of quotes: the last row goes on in the next block.
        if skip is not None and not whole.count(b'"') % 2 and skip(whole, line):
            line += whole.count(b"\n") + 1
            continue
        raws, lines, part = _split(whole, line)
        if raws:
            yield Chunk(line, _without_cr(raws) if b"\r" in whole else raws, lines, len(block))
        line += whole.count(b"\n") + 1 - len(part)
        rest = b"\n".join([*part, rest])
    if rest:
        yield Chunk(line, _without_cr([rest]), None, 0)


def _split(whole: bytes, line: int) -> tuple[list[bytes], list[int] | None, Sequence[bytes]]:
    """Return records, where each begins, and the lines of one whose end is to come."""
    parts = whole.split(b"\n")
    if b'"' not in whole:
        return parts, None, ()
    raws: list[bytes] = []
    lines: list[int] = []
    start, is_open = 0, False
    for at, raw in enumerate(parts):
        if b'"' in raw:
            is_open ^= bool(raw.count(b'"') % 2)
        if not is_open:
            raws.append(raw if at == start else b"\n".join(parts[start : at + 1]))
            lines.append(line + start)
            start = at + 1
    return raws, lines, parts[start:]


def _without_cr(raws: Sequence[bytes]) -> list[bytes]:
    return [raw.removesuffix(b"\r") for raw in raws]


def columns_of(chunk: Chunk, wanted: int) -> list[list[str | None]] | None:
    """Return the cells of a chunk by column, all rows at once.

    Returns:
        None where that can't be: a quote is in it, or a row has not as many cells as wanted.
    """
    if chunk.lines is not None:
        return None
    rows, step = len(chunk.raws), wanted + 1
    cells = b",\n,".join(chunk.raws).decode().split(",")
    # No row holds a line's end: if each has as many cells as wanted, those stand in their places.
    if len(cells) != rows * step - 1 or cells[wanted::step] != ["\n"] * (rows - 1):
        return None
    return [_or_null(cells[at::step]) for at in range(wanted)]


def _or_null(cells: list[str]) -> list[str | None]:
    if not any(cells):
        return [None] * len(cells)
    return cells if all(cells) else [cell or None for cell in cells]  # type: ignore[return-value]


def cells_of(raw: bytes) -> Cells:
    """Return the cells of a record; None for NULL."""
    text = raw.decode(errors="replace")
    if '"' not in text:
        return [cell or None for cell in text.split(",")]
    cells: Cells = []
    for found in _FIELD.finditer(text):
        cells.append(_cell(found[1]))
        if not found[2]:
            break
    return cells


def _cell(field: str) -> str | None:
    if '"' not in field:
        return field or None
    return _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), field)


def find_record(
    source: Source, header: Header, line: int, begin: Mark | None = None
) -> Record | None:
    """Return the record that a line belongs to; `begin` is where one begins, not behind it."""

    def ends_before(whole: bytes, first: int) -> bool:
        return first + whole.count(b"\n") < line

    found = None
    for chunk in chunks(source, header, ends_before, begin):
        for at in range(len(chunk.raws)):
            record = chunk.record(at)
            if record.line > line:
                return found
            found = record
    return found


def find_values(
    source: Source, header: Header, at: Sequence[int], values: Sequence[str]
) -> Record | None:
    """Return the last record with these cells."""
    # In a cell with quotes each of them is doubled.
    sought, wanted, found = values[0].partition('"')[0].encode(), list(values), None
    for chunk in chunks(source, header, lambda whole, _: sought not in whole):
        for number, raw in enumerate(chunk.raws):
            if sought in raw:
                cells = cells_of(raw)
                if [cells[i] for i in at if i < len(cells)] == wanted:
                    found = chunk.record(number)
    return found


def count_problem(record: Record, found: int, wanted: int) -> Problem:
    """Return what is wrong with a record of too many or too few cells."""
    return Problem(record.line, f"the row has {found} cells, not {wanted}", state="cell-count")


def has_lone_return(raw: bytes) -> bool:
    """Return whether a record holds a carriage return outside of quotes, which COPY refuses."""
    return any(b"\r" in part for part in raw.split(b'"')[::2])


def return_problem(record: Record) -> Problem:
    """Return what is wrong with such a record."""
    what = "the row holds a carriage return outside of quotes"
    return Problem(record.line, what, state="carriage-return")
