"""Columns as Arrow and Parquet know them: for export and for import.

Rows come as JSON objects, in which each value is what `json_type` says; Arrow makes of it what
`file_type` says. A moment is a number of microseconds, a day a number of days, since 1970.
PostgreSQL's infinity is the largest number there is, as DuckDB has it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from oneoff.services.data.columns import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column

# Arrow's own allocator keeps 20 MiB and more of what it was given back, for speed that the database
# leaves no use for.
pa.set_memory_pool(pa.system_memory_pool())

MOST_DIGITS = 38
"""Digits of the decimals that every reader of Parquet knows; numbers with more are texts."""

_INTEGERS = {"smallint": pa.int16(), "integer": pa.int32()}
_COUNTED = {
    Kind.BOOLEAN: (pa.bool_(), pa.bool_()),
    Kind.FLOAT: (pa.string(), pa.float64()),
    Kind.DATE: (pa.int32(), pa.date32()),
    Kind.TIME: (pa.int64(), pa.time64("us")),
    Kind.TIMESTAMP: (pa.int64(), pa.timestamp("us")),
    Kind.INSTANT: (pa.int64(), pa.timestamp("us", "UTC")),
}


def json_type(column: Column) -> Any:
    """Return the type a value has in the JSON that Arrow reads."""
    if column.kind is Kind.INTEGER:
        return _integer(column)
    return _COUNTED.get(column.kind, (pa.string(), None))[0]


def file_type(column: Column) -> Any:
    """Return the type of a column of a Parquet file."""
    if column.kind is Kind.INTEGER:
        return _integer(column)
    if column.kind is Kind.BINARY:
        return pa.binary()
    if column.kind is Kind.NUMERIC and column.precision and column.precision <= MOST_DIGITS:
        return pa.decimal128(column.precision, column.scale)
    return _COUNTED.get(column.kind, (None, pa.string()))[1]


def schema_of(columns: Sequence[Column]) -> Any:
    """Return the schema of a Parquet file."""
    return pa.schema([pa.field(column.name, file_type(column)) for column in columns])


def _integer(column: Column) -> Any:
    # SQLite calls a type what it likes, and keeps 64 bits whatever it is called.
    return _INTEGERS.get(column.type, pa.int64())
