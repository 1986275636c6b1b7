"""Read a Parquet file, and convert its rows to csv lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from oneoff.database import sqlstates
from oneoff.services.data.arrow import compute, pa, parquet
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.imports.errors import Problem, bad_file
from oneoff.services.data.imports.readers.base import Chunk, Parsed, Reader, Row, Staged
from oneoff.services.data.imports.readers.csv_records import cells_of
from oneoff.services.data.imports.readers.parquet_values import BYTES, InexactValue, texts_of

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

ROWS = 8_192
"""The number of rows that are read at a time."""
BLOCK = 64 * 1024
"""The number of bytes of a column that are read at a time."""
LONGEST = 16 << 20
"""The number of bytes of repeated values that are decoded at a time."""

_NOT_STORABLE = sqlstates.CHARACTER_NOT_IN_REPERTOIRE


class ParquetReader(Reader):
    """Reads a Parquet file. The first row is line 1.

    Rejects are written as csv, because Parquet can't be edited by hand.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            # Without these options Arrow reads all bytes of a row group at once. `us`: nanoseconds
            # since 1970 would have no room for years after 2262.
            self._file = parquet.ParquetFile(
                source.seekable,
                read_dictionary=_repeated_values(parquet.read_metadata(source.seekable)),
                pre_buffer=False,
                buffer_size=BLOCK,
                coerce_int96_timestamp_unit="us",
            )
        except (pa.ArrowException, OSError) as exc:
            raise bad_file(source.name, f"is not a complete Parquet file: {exc}") from exc
        self.names: tuple[str, ...] = tuple(self._file.schema_arrow.names)

    @property
    def rows(self) -> int:
        """The number of rows."""
        count: int = self._file.metadata.num_rows
        return count

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows as csv lines."""
        line = 1
        try:
            for batch in chain.from_iterable(map(_parts, self._file.iter_batches(ROWS))):
                columns = [self._cells(array, at) for at, array in enumerate(batch.columns)]
                rows = list(zip(*columns, strict=True))
                raw_rows = [csv_lines([row])[:-1] for row in rows]
                yield Chunk(line, raw_rows, list(range(line, line + len(raw_rows))), len(raw_rows))
                line += len(raw_rows)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
            raise bad_file(self.source.name, f"can't be read: {exc}") from exc

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk."""
        rows: list[Row] = [cells_of(raw) for raw in chunk.raw_rows]
        return Parsed.of_rows(range(len(rows)), rows, ())

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return the rows with their number as an additional first cell."""
        lines, bad = [], []
        for at, raw in enumerate(chunk.raw_rows):
            # PostgreSQL stores no zero character, and COPY would refuse the entire chunk.
            name = self._column_with_zero(raw) if b"\0" in raw else None
            if name is None:
                lines.append(b"%d,%b\n" % (first + at, raw.replace(b"\0", b"")))
            else:
                line = chunk.raw_row(at).line
                bad.append((at, Problem(line, "", name, state=_NOT_STORABLE)))
        return Staged(b"".join(lines), bad)

    def _column_with_zero(self, raw: bytes) -> str | None:
        """Return the name of the first imported column whose text contains a zero character."""
        columns = self.plan.columns if self.plan else (None,) * len(self.names)
        for cell, column in zip(cells_of(raw), columns, strict=True):
            if cell and column is not None and "\0" in cell:
                return column.name
        return None

    def rejects_header(self) -> bytes:
        """Return a csv header."""
        return csv_lines([[name.encode() for name in self.names]])

    def _cells(self, array: Any, at: int) -> list[bytes]:
        """Return the values of a column as csv cells; a cell without bytes is NULL."""
        column = self.plan.columns[at] if self.plan else None
        try:
            texts = texts_of(array, column and column.kind)
        except InexactValue as exc:
            if self.plan and column is None:  # the column is not imported
                return [b""] * len(array)
            raise bad_file(
                self.source.name,
                f"can't be read exactly: column {self.names[at]} {exc}",
                try_="convert the column before the import, or leave it out with --columns",
            ) from exc
        return [b"" if text is None else text.encode() or EMPTY for text in texts]


def _repeated_values(metadata: Any) -> list[str]:
    """Return the columns that are to stay encoded: texts and bytes that the file stores once.

    A file of a few kilobytes can repeat a long value in each of a million rows.
    """
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    columns = [group.column(at) for group in groups for at in range(group.num_columns)]
    encoded = {column.path_in_schema for column in columns if column.has_dictionary_page}
    schema = metadata.schema.to_arrow_schema()
    return [field.name for field in schema if field.name in encoded and field.type in BYTES]


def _parts(batch: Any) -> Iterator[Any]:
    """Divide rows until those of each part can be decoded together."""
    count = len(batch)
    if count <= 1 or sum(map(_decoded_bytes, batch.columns)) <= LONGEST:
        yield batch
        return
    yield from _parts(batch.slice(0, count // 2))
    yield from _parts(batch.slice(count // 2))


def _decoded_bytes(array: Any) -> int:
    """Return the size of the texts or bytes of a column that is still encoded; 0 for others."""
    if not pa.types.is_dictionary(array.type) or array.type.value_type not in BYTES:
        return 0
    sizes = compute.call_function("binary_length", [array.dictionary])
    return compute.call_function("sum", [sizes.cast(pa.int64()).take(array.indices)]).as_py() or 0
