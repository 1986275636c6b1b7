"""Read a Parquet file, and convert its rows to csv lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError
from oneoff.services.data.columns import INFINITE_DAY, INFINITE_MOMENT, float_text
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.readers.base import Chunk, Parsed, Reader, Row, Staged
from oneoff.services.data.imports.readers.csv_records import cells_of

try:
    import pyarrow as pa
    from pyarrow import compute, parquet
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "Parquet files need the Python package 'pyarrow', which is not installed",
        try_=("pip install 'oneoff[parquet]'", "or export the rows as csv"),
        code="missing-dependency",
    ) from exc

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

ROWS = 8_192
"""The number of rows that are read at a time."""


class ParquetReader(Reader):
    """Reads a Parquet file. The first row is line 1.

    Rejects are written as csv, because Parquet can't be edited by hand.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            self._file = parquet.ParquetFile(source.seekable)
        except (pa.ArrowInvalid, OSError) as exc:
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
            for batch in self._file.iter_batches(ROWS):
                columns = [_cells(array) for array in batch.columns]
                rows = list(zip(*columns, strict=True))
                raw_rows = [csv_lines([row])[:-1] for row in rows]
                yield Chunk(line, raw_rows, list(range(line, line + len(raw_rows))), len(raw_rows))
                line += len(raw_rows)
        except (pa.ArrowInvalid, OSError) as exc:
            raise bad_file(self.source.name, f"can't be read: {exc}") from exc

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells of a chunk."""
        rows: list[Row] = [cells_of(raw) for raw in chunk.raw_rows]
        return Parsed.of_rows(range(len(rows)), rows, ())

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Return the rows with their number as an additional first cell."""
        lines = [b"%d,%b\n" % (first + at, raw) for at, raw in enumerate(chunk.raw_rows)]
        return Staged(b"".join(lines), ())

    def rejects_header(self) -> bytes:
        """Return a csv header."""
        return csv_lines([[name.encode() for name in self.names]])


def _cells(array: Any) -> list[bytes]:
    """Return the values of a column as csv cells; a cell without bytes is NULL."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    text = _formatter(kind)
    array = _moments_as_numbers(array, kind)
    return [b"" if value is None else text(value).encode() or EMPTY for value in array.to_pylist()]


def _moments_as_numbers(array: Any, kind: Any) -> Any:
    """Return timestamps and dates as numbers: Python's types have no infinity and end in 9999."""
    if pa.types.is_timestamp(kind):
        return compute.cast(array, pa.timestamp("us", kind.tz)).cast(pa.int64())
    if pa.types.is_date32(kind):
        return array.cast(pa.int32())
    return array


def _formatter(kind: Any) -> Callable[[Any], str]:
    """Return the function that converts a value of this type to text, as PostgreSQL does."""
    if pa.types.is_boolean(kind):
        return lambda value: "t" if value else "f"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return lambda value: "\\x" + value.hex()
    if pa.types.is_floating(kind):
        return float_text
    if pa.types.is_timestamp(kind):
        zone = "+00" if kind.tz else ""
        return lambda value: _timestamp_text(value, zone)
    if pa.types.is_date32(kind):
        return _date_text
    return _json_text if pa.types.is_nested(kind) else str


def _timestamp_text(value: int, zone: str) -> str:
    """Return the timestamp for a number of microseconds since 1970."""
    if abs(value) == INFINITE_MOMENT:
        return "infinity" if value > 0 else "-infinity"
    days, micro = divmod(value, 86_400_000_000)
    seconds, fraction = divmod(micro, 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    date, _, era = _date_text(days).partition(" ")
    return f"{date} {clock}{f'.{fraction:06}' if fraction else ''}{zone}{f' {era}' if era else ''}"


def _date_text(value: int) -> str:
    """Return the date for a number of days since 1970; years before 1 are BC."""
    if abs(value) == INFINITE_DAY:
        return "infinity" if value > 0 else "-infinity"
    # https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    era, day_of_era = divmod(value + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9  # noqa: PLR2004 - a year begins in March
    year += era * 400 + (month <= 2)  # noqa: PLR2004
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"


def _json_text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
