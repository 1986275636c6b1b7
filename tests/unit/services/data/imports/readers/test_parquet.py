"""Values of a Parquet file are converted exactly, or refused; the file is read in small parts."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from pyarrow import parquet

from oneoff.services.data.columns import Kind
from oneoff.services.data.imports.readers.parquet_reader import ParquetReader
from oneoff.services.data.imports.readers.parquet_values import (
    InexactValue,
    texts_of,
)
from oneoff.services.data.imports.source import Source


def numbers(kind: Any, *values: int | None) -> Any:
    """Return an array of a type that Arrow stores as numbers."""
    storage = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(values, storage).view(kind)


LISTS = pa.array([[["a", 'q"\\', None, ""], []], None, []], pa.list_(pa.list_(pa.string())))
OBJECTS = pa.array([{"a": 1, "b": ["x"], "c": Decimal("1.50")}, None, {"a": None}])
MAPS = pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64()))
BYTES = b"0123456789abcdef"
AS_UUID = "30313233-3435-3637-3839-616263646566"
# The oldest pyarrow that is supported has no type for these.
NEWER_TYPES = [
    (pa.array(values, getattr(pa, kind)()), target, texts)
    for kind, values, target, texts in (
        ("uuid", [BYTES], Kind.UUID, [AS_UUID]),
        ("json_", ['{"a":1}'], Kind.JSON, ['{"a":1}']),
    )
    if hasattr(pa, kind)
]


@pytest.mark.parametrize(
    ("values", "target", "texts"),
    [
        (numbers(pa.time64("us"), 86_400_000_000, None), None, ["24:00:00", None]),
        (numbers(pa.time32("ms"), 1), None, ["00:00:00.001000"]),
        (numbers(pa.time64("ns"), 1_000), None, ["00:00:00.000001"]),
        (numbers(pa.date64(), -86_400_000), None, ["1969-12-31"]),
        (numbers(pa.date32(), 2**31 - 2), None, ["5881580-07-10"]),
        (numbers(pa.timestamp("s"), 9_224_318_015_999), None, ["294276-12-31 23:59:59"]),
        (numbers(pa.timestamp("us", "UTC"), 1), None, ["1970-01-01 00:00:00.000001+00"]),
        (pa.array([timedelta(days=-1, microseconds=5)]), None, ["-23:59:59.999995"]),
        (pa.array([BYTES, None], pa.binary(16)), None, ["\\x" + BYTES.hex(), None]),
        (pa.array([BYTES], pa.binary(16)), Kind.UUID, [AS_UUID]),
        *NEWER_TYPES,
        (pa.array([[1, None], [], None]), Kind.ARRAY, ['{"1",NULL}', "{}", None]),
        (pa.array([[1, None], [], None]), Kind.JSON, ["[1,null]", "[]", None]),
        (pa.array([[0], [1, 2]]).slice(1), Kind.ARRAY, ['{"1","2"}']),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), Kind.ARRAY, ['{"1","2"}', None]),
        (LISTS, Kind.ARRAY, ['{{"a","q\\"\\\\",NULL,""},{}}', None, "{}"]),
        (LISTS, Kind.JSON, ['[["a","q\\"\\\\",null,""],[]]', None, "[]"]),
        (pa.array([[float("nan"), 1.5]]), Kind.ARRAY, ['{"NaN","1.5"}']),
        (pa.array([[float("nan"), 1.5]]), Kind.JSON, ['["NaN",1.5]']),
        (pa.array([[b"\x00"]]), Kind.ARRAY, ['{"\\\\x00"}']),
        (pa.array([[date(2026, 1, 31)]]), Kind.ARRAY, ['{"2026-01-31"}']),
        (
            OBJECTS,
            Kind.JSON,
            ['{"a":1,"b":["x"],"c":1.50}', None, '{"a":null,"b":null,"c":null}'],
        ),
        (OBJECTS.slice(1), None, [None, '{"a":null,"b":null,"c":null}']),
        (MAPS, Kind.JSON, ['{"a":1,"b":null}', None, "{}"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), None, ["x", None, "x"]),
        (pa.array([None]), None, [None]),
        (pa.array([1.5]).cast(pa.float32()).cast(pa.float16()), None, ["1.5"]),
        (pa.array([0.1], pa.float32()), None, ["0.10000000149011612"]),
        (pa.array([Decimal("0E-10")], pa.decimal128(20, 10)), None, ["0.0000000000"]),
        (pa.array([2**64 - 1], pa.uint64()), None, ["18446744073709551615"]),
        (pa.array([True, False]), None, ["t", "f"]),
        (pa.array([[True]]), Kind.JSON, ["[true]"]),
    ],
)
def test_a_value_of_a_known_type_is_converted_exactly(
    values: Any, target: Kind | None, texts: list[str | None]
) -> None:
    """To the text that csv would contain, for the kind of the column."""
    assert texts == texts_of(values, target)


@pytest.mark.parametrize(
    "values",
    [
        numbers(pa.time64("ns"), 1),
        numbers(pa.timestamp("ns"), 1_500),
        numbers(pa.duration("ns"), 1),
        numbers(pa.date64(), 1),
        pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
    ],
)
def test_a_value_that_has_no_exact_text_is_refused(values: Any) -> None:
    """Nothing is rounded, and no member of a map is lost."""
    with pytest.raises(InexactValue):
        texts_of(values, None)


@pytest.mark.parametrize("nested", [False, True])
def test_an_unknown_type_is_refused(nested: bool) -> None:  # noqa: FBT001
    """Also in a list."""
    values = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    if nested:
        values = pa.ListArray.from_arrays([0, 1], values)

    with pytest.raises(InexactValue):
        texts_of(values, Kind.ARRAY)


class Recorded(io.FileIO):
    """A file that records how many bytes are read at once."""

    largest = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes."""
        found = super().read(-1 if size is None else size) or b""
        Recorded.largest = max(Recorded.largest, len(found))
        return found


def test_a_large_group_of_rows_is_read_in_small_parts(tmp_path: Path) -> None:
    """So memory does not grow with the file."""
    path = tmp_path / "large.parquet"
    values = pa.array([f"text {number * 7919}" for number in range(300_000)])
    parquet.write_table(pa.table({"a": values, "b": values}), path, row_group_size=300_000)
    with Recorded(path) as file:
        source = cast("Source", SimpleNamespace(name="large.parquet", seekable=file))

        rows = sum(len(chunk.raw_rows) for chunk in ParquetReader(source).chunks())

    assert 300_000 == rows
    assert path.stat().st_size > 2_000_000
    assert Recorded.largest < 500_000


def test_timestamps_of_96_bits_may_be_after_the_year_2262(tmp_path: Path) -> None:
    """As other programs write them."""
    path = tmp_path / "old.parquet"
    values = pa.array([datetime(9999, 12, 31)], pa.timestamp("us"))  # noqa: DTZ001
    parquet.write_table(pa.table({"a": values}), path, use_deprecated_int96_timestamps=True)
    with path.open("rb") as file:
        source = cast("Source", SimpleNamespace(name="old.parquet", seekable=file))

        (chunk,) = ParquetReader(source).chunks()

    assert [b"9999-12-31 00:00:00"] == list(chunk.raw_rows)
