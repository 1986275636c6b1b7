"""Write rows to a Parquet file, one group of rows at a time.

Rows come as JSON objects, in which each value has its `_json_type`; Arrow converts it to its
`_file_type`. Timestamps are microseconds since 1970, dates are days. PostgreSQL's infinity is the
largest number, as in DuckDB.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError, DataError
from oneoff.services.data.columns import Kind
from oneoff.utils.concurrency import in_daemon_thread

try:
    import pyarrow as pa
    from pyarrow import json as arrow_json
    from pyarrow import parquet
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "a Parquet file needs the Python package 'pyarrow', which is not installed",
        try_=("pip install 'oneoff[parquet]'", "or choose another --format"),
        code="missing-dependency",
    ) from exc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.files import Sink

# Arrow's own allocator keeps 20 MiB and more of freed memory, to be faster; but the database is the
# bottleneck of an export.
pa.set_memory_pool(pa.system_memory_pool())

MOST_DIGITS = 38
"""Digits of decimals that every reader of Parquet supports; numbers with more become text."""

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
"""Bytes of JSON that are parsed at a time; to parse a whole group takes four times its size."""
BLOCKS_A_GROUP = 8
"""Blocks in one group of rows: 80,000 rows of a hundred bytes."""


class ParquetRows:
    """Writes rows that come as JSON lines to a sink as a Parquet file.

    A block ends with the row that fills it, and a group with a block. So where they end depends on
    the rows alone and not on the pieces they came in: the same rows give the same file.
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
        """Add lines; a group is written as soon as it is full."""
        self._lines += rows
        while len(self._lines) >= BLOCK:
            await self._read_block(self._lines.index(b"\n", BLOCK - 1) + 1)
            if len(self._group) == BLOCKS_A_GROUP:
                await self._write_group()

    async def finish(self) -> None:
        """Write the last group and the footer of the file."""
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
        # All in one block of Arrow's, where a row across two would be an error.
        reading = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
        try:
            read = arrow_json.read_json(
                pa.BufferReader(lines), read_options=reading, parse_options=self._options
            )
        except pa.ArrowInvalid as exc:  # SQLite lets any value into any column
            raise _wrong_type("a column", "is not what the column says it is") from exc
        arrays = [self._array(column, read[column.name]) for column in self._columns]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _array(self, column: Column, values: Any) -> Any:
        if column.kind is Kind.BINARY:
            texts = values.to_pylist()
            return pa.array(
                [None if text is None else bytes.fromhex(text[2:]) for text in texts], pa.binary()
            )
        try:
            return values.cast(_file_type(column))
        except pa.ArrowInvalid as exc:
            raise _wrong_type(f"column {column.name}", f"is no {_file_type(column)}") from exc


def _wrong_type(where: str, what: str) -> DataError:
    return DataError(
        f"{where} holds a value that {what}",
        why="every value of a column of a Parquet file is of the column's type",
        try_="choose csv or jsonl, which take any value",
        code="not-for-parquet",
    )


class _Buffer(io.RawIOBase):
    """Keeps what Arrow writes until it is passed to the sink."""

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
    # SQLite stores 64 bits whatever the name of the type.
    return _INTEGERS.get(column.type, pa.int64())
