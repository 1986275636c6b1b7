"""What the readers of all formats share: rows in chunks, each with the line it begins in.

Three words count rows, each from 0, and a fourth counts lines:

| Word | Counts |
| --- | --- |
| number | the rows of the file |
| index | the rows of a chunk |
| position | the rows of a chunk that could be parsed, or the cells of a row |
| line | the lines of the file, from 1: a row may have several |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from oneoff.services.data.imports.errors import Problem
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

SEPARATOR = b"\x02"
"""Separates the number of a row from its JSON when both are staged by COPY; no JSON holds it."""

Row = list[str | None]
"""The cells of one row; None for NULL."""


class RawRow(NamedTuple):
    """One row of a file.

    Attributes:
        line: The line it begins in; the first line of a file is 1.
        raw: Its bytes, without the line end.
    """

    line: int
    raw: bytes


class Chunk(NamedTuple):
    """Consecutive rows of a file.

    Attributes:
        line: The line that the first row begins in.
        raw_rows: Their bytes, without line ends.
        lines: The line that each begins in; None if each row is one line.
        size: Bytes that were read for them.
    """

    line: int
    raw_rows: Sequence[bytes]
    lines: Sequence[int] | None
    size: int

    def raw_row(self, index: int) -> RawRow:
        """Return one of the rows."""
        line = self.line + index if self.lines is None else self.lines[index]
        return RawRow(line, self.raw_rows[index])

    def as_lines(self) -> bytes:
        """Return the rows, each followed by a line feed."""
        return b"\n".join([*self.raw_rows, b""])


BadRow = tuple[int, "Problem"]
"""The index of a row in its chunk, and what is wrong with it."""

Advance = Callable[[Chunk], None]
"""Called with each chunk that is done."""


class Parsed(NamedTuple):
    """The cells of a chunk.

    Attributes:
        indexes: The index in the chunk of each row that could be parsed.
        columns: For each of the reader's names, the cells of those rows.
        bad: Rows that can't be parsed.
    """

    indexes: Sequence[int]
    columns: Sequence[Sequence[str | None]]
    bad: Sequence[BadRow]

    def row(self, position: int) -> Row:
        """Return the cells of one row, by its position among those that were parsed."""
        return [column[position] for column in self.columns]

    def keep(self, positions: Sequence[int]) -> Parsed:
        """Return the rows at these positions alone."""
        columns = [[column[position] for position in positions] for column in self.columns]
        return Parsed([self.indexes[position] for position in positions], columns, self.bad)

    @classmethod
    def of_rows(cls, indexes: Sequence[int], rows: Sequence[Row], bad: Sequence[BadRow]) -> Parsed:
        """Turn rows into columns."""
        return cls(indexes, list(zip(*rows, strict=True)), bad)


class Staged(NamedTuple):
    """A chunk as COPY takes it into the staging table of PostgreSQL.

    Attributes:
        data: One line for each row: its number, and its bytes.
        bad: Rows that can't be read.
    """

    data: bytes
    bad: Sequence[BadRow]


class Reader(ABC):
    """Reads one file. Its methods block: call them from a thread.

    Attributes:
        source: The file.
        names: Of the columns.
        json: Whether a raw row is JSON; else it is csv.
    """

    source: Source
    names: tuple[str, ...]
    json = False

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows from the beginning of the file; each call starts again."""

    @abstractmethod
    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk, as csv would hold them."""

    @abstractmethod
    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return a chunk as the server reads it.

        Args:
            chunk: The rows.
            first: Number of the first of them in the file; the first row of a file is 0.
        """

    # A file of rejects is in the format of the file itself: one can be corrected and imported.

    def rejects_header(self) -> bytes:
        """Return what precedes the first row of a file of rejects."""
        return b""

    def rejects_separator(self) -> bytes:
        """Return what separates two of its rows."""
        return b"\n"

    def rejects_footer(self) -> bytes:
        """Return what follows the last."""
        return b"\n"
