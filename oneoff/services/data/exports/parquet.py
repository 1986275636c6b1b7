"""Write rows to a Parquet file, one row group at a time.

Rows arrive as JSON objects, in which each value has the type that `_json_type` returns. Arrow
converts it to the type that `_file_type` returns. Timestamps are microseconds since 1970, dates are
days since 1970. PostgreSQL's infinity is the largest number, as in DuckDB.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import DataError
from oneoff.services.data.arrow import arrow_json, pa, parquet
from oneoff.services.data.columns import Kind
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.files import Sink

MOST_DIGITS = 38
"""Decimal digits that every Parquet reader supports; numbers with more digits become text."""

_HEX = re.compile(r"\\x(?:[0-9a-f]{2})*")
_INTEGERS = {"smallint": pa.int16(), "integer": pa.int32()}
_TYPES = {
    Kind.BOOLEAN: (pa.bool_(), pa.bool_()),
    Kind.FLOAT: (pa.string(), pa.float64()),
    Kind.DATE: (pa.int32(), pa.date32()),
    Kind.TIME: (pa.int64(), pa.time64("us")),
    Kind.TIMESTAMP: (pa.int64(), pa.timestamp("us")),
    Kind.INSTANT: (pa.int64(), pa.timestamp("us", "UTC")),
}

BLOCK = 1 << 20
"""Bytes of JSON that are parsed at a time. Parsing an entire group takes four times its size."""
BLOCKS_A_GROUP = 8
"""Blocks in one row group: about 80,000 rows of 100 bytes."""


class ParquetRows:
    """Writes rows that arrive as JSON lines to a sink as a Parquet file.

    A block ends with the row that fills it, and a group ends with a block. So their ends depend
    only on the rows, not on the parts in which they arrive: the same rows give the same file.
    """

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._columns, self._sink = columns, sink
        self._lines = bytearray()
        self._group: list[Any] = []
        self._written = _Buffer()
        self._schema = pa.schema([(column.name, _file_type(column)) for column in columns])
        self._writer = parquet.ParquetWriter(self._written, self._schema)
        self._options = arrow_json.ParseOptions(
            explicit_schema=pa.schema([(column.name, _json_type(column)) for column in columns]),
            unexpected_field_behavior="error",
        )

    async def take(self, rows: bytes) -> None:
        """Add lines, and write a group when it is full."""
        self._lines += rows
        while len(self._lines) >= BLOCK:
            await self._read_block(self._lines.index(b"\n", BLOCK - 1) + 1)
            if len(self._group) == BLOCKS_A_GROUP:
                await self._write_group()

    async def finish(self) -> None:
        """Write the last group and the file's footer."""
        if self._lines:
            await self._read_block(len(self._lines))
        if self._group:
            await self._write_group()
        self._writer.close()
        await self._sink.write(self._written.drain())

    async def _read_block(self, size: int) -> None:
        lines = self._lines[:size]
        del self._lines[:size]
        self._group.append(await in_daemon_thread(lambda: self._table(lines)))

    async def _write_group(self) -> None:
        group, self._group = pa.concat_tables(self._group), []
        await in_daemon_thread(lambda: self._writer.write_table(group))
        await self._sink.write(self._written.drain())

    def _table(self, lines: bytearray) -> Any:
        # The lines must fit into one of Arrow's blocks: a row that spans two is an error.
        reading = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
        try:
            read = arrow_json.read_json(
                pa.BufferReader(lines), read_options=reading, parse_options=self._options
            )
        except pa.ArrowInvalid as exc:  # SQLite accepts any value in any column
            raise _wrong_type("a column", "is not of the column's type") from exc
        arrays = [self._array(column, read[column.name]) for column in self._columns]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _array(self, column: Column, values: Any) -> Any:
        try:
            if column.kind is Kind.BINARY:
                return pa.array(map(_bytes, values.to_pylist()), pa.binary())
            return values.cast(_file_type(column))
        except ValueError as exc:  # ArrowInvalid is one
            raise _wrong_type(f"column {column.name}", f"is not a {_file_type(column)}") from exc


def _bytes(text: str | None) -> bytes | None:
    """Return the bytes that a text of hexadecimal digits describes.

    Raises:
        ValueError: It is another text, which SQLite accepts in a column for bytes.
    """
    if text is None:
        return None
    if not _HEX.fullmatch(text):
        raise ValueError(text)
    return bytes.fromhex(text[2:])


def _wrong_type(where: str, what: str) -> DataError:
    return DataError(
        f"{where} contains a value that {what}",
        why="in a Parquet file all values of a column have the column's type",
        try_="export as csv or jsonl, which accept any value",
        code="not-for-parquet",
    )


class _Buffer(io.RawIOBase):
    """Collects the bytes that Arrow writes, until they are passed to the sink."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _json_type(column: Column) -> Any:
    """Return the type of a value in the JSON that Arrow parses."""
    if column.kind is Kind.INTEGER:
        return _integer(column)
    return _TYPES.get(column.kind, (pa.string(), None))[0]


def _file_type(column: Column) -> Any:
    """Return the type of a column in the Parquet file."""
    if column.kind is Kind.INTEGER:
        return _integer(column)
    if column.kind is Kind.BINARY:
        return pa.binary()
    if column.kind is Kind.NUMERIC and column.precision and column.precision <= MOST_DIGITS:
        return pa.decimal128(column.precision, column.scale)
    return _TYPES.get(column.kind, (None, pa.string()))[1]


def _integer(column: Column) -> Any:
    # SQLite stores 64 bits, whatever the type is called.
    return _INTEGERS.get(column.base_type, pa.int64())
