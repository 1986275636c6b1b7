"""What every format has in common for an import: rows in chunks, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from oneoff.services.data.imports.readers.csv_reader import (
    Cells,
    Chunk,
    cells_of,
    chunks,
    columns_of,
    count_problem,
    has_lone_return,
    return_problem,
)

if TYPE_CHECKING:
    from oneoff.services.data.imports.errors import Problem
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.readers.csv_reader import Header
    from oneoff.services.data.imports.source import Source

SEPARATOR = b"\x02"
"""What stands between the number of a row and its JSON, on their way to the server."""


Advance = Callable[[Chunk], None]
"""Is told of each chunk that is done."""


class Parsed(NamedTuple):
    """The rows of a chunk.

    Attributes:
        at: The place of each in the chunk.
        columns: For each of the reader's names the cells of those rows: a text, or None.
        bad: Rows that can't be read, by their place.
    """

    at: Sequence[int]
    columns: Sequence[Sequence[str | None]]
    bad: Sequence[tuple[int, Problem]]

    def row(self, at: int) -> Cells:
        """Return the cells of one of the rows."""
        return [column[at] for column in self.columns]

    @classmethod
    def of_rows(
        cls, at: Sequence[int], rows: Sequence[Cells], bad: Sequence[tuple[int, Problem]]
    ) -> Parsed:
        """Turn rows to columns."""
        return cls(at, list(zip(*rows, strict=True)), bad)


class Staged(NamedTuple):
    """A chunk on its way into the staging table of PostgreSQL.

    Attributes:
        data: Lines of the number of a row, and what stands there.
        bad: Rows that can't be read, by their place.
    """

    data: bytes
    bad: Sequence[tuple[int, Problem]]


class Reader(Protocol):
    """Reads one file. Its methods block: call them from a thread.

    Attributes:
        source: The file.
        names: Of the columns.
        json: Whether the server reads a row as JSON; else as csv.
    """

    source: Source
    names: tuple[str, ...]
    json: bool

    def chunks(self) -> Iterator[Chunk]:
        """Give the rows, from the beginning of the file."""
        ...

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk, as csv would have them."""
        ...

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return a chunk as the server takes it.

        Args:
            chunk: The rows.
            first: Number of the first of them in the file.
        """
        ...

    def begin(self) -> bytes:
        """Return what stands before the rows of a file of rejects."""
        ...

    def between(self, at: int) -> bytes:
        """Return what stands before the row of this number, which is 0 for the first."""
        ...

    def end(self) -> bytes:
        """Return what stands behind the last."""
        ...


class CsvReader:
    """Reads csv."""

    json = False

    def __init__(self, source: Source, header: Header) -> None:
        self.source, self.header, self.names = source, header, header.names

    def chunks(self) -> Iterator[Chunk]:
        """Give the rows below the line of names."""
        return chunks(self.source, self.header)

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Split the rows at their commas."""
        wanted = len(self.names)
        columns = columns_of(chunk, wanted)
        if columns is not None:
            return Parsed(range(len(chunk.raws)), columns, ())
        rows = [cells_of(raw) for raw in chunk.raws]
        bad = [
            (at, count_problem(chunk.record(at), len(row), wanted))
            for at, row in enumerate(rows)
            if len(row) != wanted
        ]
        left_out = {at for at, _ in bad}
        good = [at for at in range(len(rows)) if at not in left_out]
        return Parsed.of_rows(good, [rows[at] for at in good], bad)

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Put its number before each row, which stays as it is."""
        wanted = len(self.names)
        bad: list[tuple[int, Problem]] = []
        lines: list[bytes] = []
        for at, raw in enumerate(chunk.raws):
            found = raw.count(b",") + 1 if b'"' not in raw else len(cells_of(raw))
            if found == wanted and b"\r" in raw and has_lone_return(raw):
                bad.append((at, return_problem(chunk.record(at))))
            elif found == wanted:
                lines.append(b"%d,%b\n" % (first + at, raw))
            else:
                bad.append((at, count_problem(chunk.record(at), found, wanted)))
        return Staged(b"".join(lines), bad)

    def begin(self) -> bytes:
        """Return the line of names as it is in the file."""
        return self.header.raw

    def between(self, at: int) -> bytes:
        """End the line before."""
        return b"\n" if at else b""

    def end(self) -> bytes:
        """End the last line."""
        return b"\n"
