"""Rows of a Parquet file, as the texts that csv would have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError
from oneoff.services.data.columns import INFINITE_DAY, INFINITE_MOMENT, float_text
from oneoff.services.data.csv_writer import EMPTY, csv_lines
from oneoff.services.data.imports.errors import bad_file
from oneoff.services.data.imports.readers.base import Parsed, Staged
from oneoff.services.data.imports.readers.csv_reader import Cells, Chunk, cells_of

try:
    import pyarrow as pa
    from pyarrow import compute, parquet
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "a Parquet file needs the Python package 'pyarrow', which is not installed",
        try_=("pip install 'oneoff[parquet]'", "or export it as csv"),
        code="missing-dependency",
    ) from exc

if TYPE_CHECKING:
    from oneoff.services.data.imports.plan import Plan
    from oneoff.services.data.imports.source import Source

ROWS = 8_192
"""Rows that are read at a time."""


class ParquetReader:
    """Reads a Parquet file; the number of a row is its line.

    What is left out of an import is written as csv: nobody mends Parquet by hand.
    """

    json = False

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            self._file = parquet.ParquetFile(source.seekable)
        except (pa.ArrowInvalid, OSError) as exc:
            raise bad_file(source.name, f"is no Parquet file, or breaks off: {exc}") from exc
        self.names: tuple[str, ...] = tuple(self._file.schema_arrow.names)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        count: int = self._file.metadata.num_rows
        return count

    def chunks(self) -> Iterator[Chunk]:
        """Give the rows as lines of csv."""
        line = 1
        try:
            for batch in self._file.iter_batches(ROWS):
                columns = [_texts(array) for array in batch.columns]
                rows = list(zip(*columns, strict=True))
                raws = [csv_lines([row])[:-1] for row in rows]
                yield Chunk(line, raws, list(range(line, line + len(raws))), len(raws))
                line += len(raws)
        except (pa.ArrowInvalid, OSError) as exc:
            raise bad_file(self.source.name, f"can't be read: {exc}") from exc

    def parse(self, chunk: Chunk, plan: Plan | None) -> Parsed:
        """Return the cells."""
        rows: list[Cells] = [cells_of(raw) for raw in chunk.raws]
        return Parsed.of_rows(range(len(rows)), rows, ())

    def stage(self, chunk: Chunk, first: int) -> Staged:
        """Put its number before each row."""
        lines = [b"%d,%b\n" % (first + at, raw) for at, raw in enumerate(chunk.raws)]
        return Staged(b"".join(lines), ())

    def begin(self) -> bytes:
        """Return a line of names: what is left out is written as csv."""
        return csv_lines([[name.encode() for name in self.names]])

    def between(self, at: int) -> bytes:
        """End the line before."""
        return b"\n" if at else b""

    def end(self) -> bytes:
        """End the last line."""
        return b"\n"


def _texts(array: Any) -> list[bytes]:
    """Return the values of a column as cells: nothing is NULL."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    text = _text_of(kind)
    array = _plain(array, kind)
    return [b"" if value is None else text(value).encode() or EMPTY for value in array.to_pylist()]


def _plain(array: Any, kind: Any) -> Any:
    """Return moments as numbers: Python's own have no infinity, and end at the year 9999."""
    if pa.types.is_timestamp(kind):
        return compute.cast(array, pa.timestamp("us", kind.tz)).cast(pa.int64())
    if pa.types.is_date32(kind):
        return array.cast(pa.int32())
    return array


def _text_of(kind: Any) -> Any:
    if pa.types.is_boolean(kind):
        return lambda value: "t" if value else "f"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return lambda value: "\\x" + value.hex()
    if pa.types.is_floating(kind):
        return float_text
    if pa.types.is_timestamp(kind):
        zone = "+00" if kind.tz else ""
        return lambda value: _moment(value, zone)
    if pa.types.is_date32(kind):
        return _day
    return _nested if pa.types.is_nested(kind) else str


def _moment(value: int, zone: str) -> str:
    if abs(value) == INFINITE_MOMENT:
        return "infinity" if value > 0 else "-infinity"
    days, micro = divmod(value, 86_400_000_000)
    seconds, fraction = divmod(micro, 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    date, _, era = _day(days).partition(" ")
    return f"{date} {clock}{f'.{fraction:06}' if fraction else ''}{zone}{f' {era}' if era else ''}"


def _day(value: int) -> str:
    """Return a day of the calendar, by its number since 1970; before the year 1 it is BC."""
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


def _nested(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
