"""Rows into a Parquet file, a group of rows at a time."""

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

from oneoff.services.data.exports.arrow import file_type, json_type, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.files import Sink

BLOCK = 1 << 20
"""Bytes of JSON that are read at a time; to read a whole group takes four times its size."""
BLOCKS_A_GROUP = 8
"""Blocks that make one group of rows: 80,000 rows of a hundred bytes."""


class ParquetRows:
    """Takes rows as JSON lines and writes them to a sink as a Parquet file.

    A block ends with the row that fills it, and a group with a block: where depends on the rows
    alone, and not on how they came, so the same rows give the same file.
    """

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._columns, self._sink = columns, sink
        self._lines = bytearray()
        self._group: list[Any] = []
        self._written = _Written()
        self._writer = parquet.ParquetWriter(self._written, schema_of(columns))
        self._options = arrow_json.ParseOptions(
            explicit_schema=pa.schema([(column.name, json_type(column)) for column in columns]),
            unexpected_field_behavior="error",
        )

    async def take(self, rows: bytes) -> None:
        """Take lines; a group of them is written as soon as it is full."""
        self._lines += rows
        while len(self._lines) >= BLOCK:
            await self._read_block(self._lines.index(b"\n", BLOCK - 1) + 1)
            if len(self._group) == BLOCKS_A_GROUP:
                await self._write_group()

    async def finish(self) -> None:
        """Write the last group, and the file's end."""
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
        # In one block: a row that lies across two would be an error.
        reading = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
        try:
            read = arrow_json.read_json(
                pa.BufferReader(lines), read_options=reading, parse_options=self._options
            )
        except pa.ArrowInvalid as exc:  # SQLite lets any value into any column
            raise _unfit("a column", "is not what the column says it is") from exc
        arrays = [self._array(column, read[column.name]) for column in self._columns]
        return pa.Table.from_arrays(arrays, schema=schema_of(self._columns))

    def _array(self, column: Column, values: Any) -> Any:
        if column.kind is Kind.BINARY:
            texts = values.to_pylist()
            return pa.array(
                [None if text is None else bytes.fromhex(text[2:]) for text in texts], pa.binary()
            )
        try:
            return values.cast(file_type(column))
        except pa.ArrowInvalid as exc:
            raise _unfit(f"column {column.name}", f"is no {file_type(column)}") from exc


def _unfit(where: str, what: str) -> DataError:
    return DataError(
        f"{where} holds a value that {what}",
        why="every value of a column of a Parquet file is of the column's type",
        try_="choose csv or jsonl, which take any value",
        code="not-for-parquet",
    )


class _Written(io.RawIOBase):
    """What Arrow has written and nobody has taken yet."""

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
