"""Define what the readers of all formats share: chunks of rows, and the line where each row starts.

Three words count rows or cells from 0, and a fourth word counts lines:

| Word | Counts |
| --- | --- |
| number | the rows of the file |
| index | the rows of a chunk |
| position | the rows of a chunk that could be parsed, or the cells of a row |
| line | the lines of the file, from 1; a row may have several lines |
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
"""Separates a row's number from its JSON when COPY stages both. It never occurs in JSON."""

Row = list[str | None]
"""The cells of one row; None for NULL."""


class RawRow(NamedTuple):
    """One row of a file.

    Attributes:
        line: The line in which it starts; the first line of a file is 1.
        raw: Its bytes without the line end.
    """

    line: int
    raw: bytes


class Chunk(NamedTuple):
    """Consecutive rows of a file.

    Attributes:
        line: The line in which the first row starts.
        raw_rows: The bytes of each row, without line ends.
        lines: The line in which each row starts; None if each row is one line.
        size: The number of bytes that were read for the rows.
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
"""The index of a row in its chunk, and its problem."""

Advance = Callable[[Chunk], None]
"""Called with each chunk after it has been processed."""


class Parsed(NamedTuple):
    """The cells of a chunk.

    Attributes:
        indexes: The index (in the chunk) of each row that could be parsed.
        columns: For each of the reader's names, the cells of these rows.
        bad: The rows that can't be parsed.
    """

    indexes: Sequence[int]
    columns: Sequence[Sequence[str | None]]
    bad: Sequence[BadRow]

    def row(self, position: int) -> Row:
        """Return the cells of one row, by its position among the parsed rows."""
        return [column[position] for column in self.columns]

    def keep(self, positions: Sequence[int]) -> Parsed:
        """Return only the rows at these positions."""
        columns = [[column[position] for position in positions] for column in self.columns]
        return Parsed([self.indexes[position] for position in positions], columns, self.bad)

    @classmethod
    def of_rows(cls, indexes: Sequence[int], rows: Sequence[Row], bad: Sequence[BadRow]) -> Parsed:
        """Convert rows to columns."""
        return cls(indexes, list(zip(*rows, strict=True)), bad)


class Staged(NamedTuple):
    """A chunk in the form in which COPY loads it into PostgreSQL's table of texts.

    Attributes:
        data: One line for each row: its number and its bytes.
        bad: The rows that can't be read.
    """

    data: bytes
    bad: Sequence[BadRow]


class Reader(ABC):
    """Reads one file. Its methods block: call them from a thread.

    Attributes:
        source: The file.
        names: The names of the columns.
        json: Whether a raw row is JSON; otherwise it is csv.
        plan: What is imported; None until it is known.
    """

    source: Source
    names: tuple[str, ...]
    json = False
    plan: Plan | None = None

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows from the start of the file; each call starts again."""

    @abstractmethod
    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk, with the texts that csv would contain."""

    @abstractmethod
    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return a chunk in the format that COPY reads.

        Args:
            chunk: The rows.
            first: The number of the first row in the file; the first row of a file is 0.
        """

    # Rejects have the format of the imported file, so that they can be corrected and imported.

    def rejects_header(self) -> bytes:
        """Return the bytes before the first row of the rejects."""
        return b""

    def rejects_separator(self) -> bytes:
        """Return the bytes between two rows of the rejects."""
        return b"\n"

    def rejects_footer(self) -> bytes:
        """Return the bytes after the last row of the rejects."""
        return b"\n"
