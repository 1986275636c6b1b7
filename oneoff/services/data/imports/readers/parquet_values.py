"""Convert the values of a Parquet file to the texts that csv would contain.

A type of Arrow that is not listed here is refused. A value of a listed type is converted exactly,
or refused. Times are converted as numbers, because Python's types have no infinity, no 24:00:00 and
no year after 9999.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from oneoff.services.data.arrow import compute, pa
from oneoff.services.data.columns import INFINITE_DAY, INFINITE_MOMENT, Kind, float_text

_BINARY = (pa.binary(), pa.large_binary(), pa.binary_view())
_TEXTS = (pa.string(), pa.large_string(), pa.string_view())
BYTES = (*_TEXTS, *_BINARY)
"""The types whose values may be of any length."""
_UUID_BYTES = 16
_DAY = 86_400_000_000  # microseconds
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Texts = list[str | None]


class InexactValue(Exception):
    """A value can't be converted exactly. The argument says why, after the name of the column."""


def texts_of(array: Any, target: Kind | None) -> Texts:
    """Return the texts of a column's values; None for NULL.

    Args:
        array: The values.
        target: The kind of the column that they are written to. A list becomes an array for a
            column of arrays, and JSON for others.

    Raises:
        InexactValue: A value, or all values of this type, can't be converted exactly.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if target is Kind.UUID and kind == pa.binary(_UUID_BYTES):
        return _converted(array, _uuid_text)
    if _is_list(kind) and target is Kind.ARRAY:
        return [None if row is None else _array(row) for row in _rows(array, _elements)]
    if _is_list(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        return _json_texts(array)
    text = _formatter(kind)
    if pa.types.is_float16(kind):
        array = array.cast(pa.float32())
    if pa.types.is_temporal(kind):
        array = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())  # noqa: PLR2004
    if isinstance(kind, pa.BaseExtensionType):
        array = array.storage
    return _converted(array, text)


def _converted(array: Any, text: Callable[[Any], str]) -> Texts:
    return [None if value is None else text(value) for value in array.to_pylist()]


def _formatter(kind: Any) -> Callable[[Any], str]:
    """Return the function that converts a value of this type to text, as PostgreSQL does."""
    for is_type, formatter in _FORMATTERS:
        if is_type(kind):
            return formatter(kind)
    message = f"has the type {kind}, which can't be imported"
    raise InexactValue(message)


def _is_text(kind: Any) -> bool:
    return kind in _TEXTS or _is_json(kind)


def _is_json(kind: Any) -> bool:
    return bool(getattr(kind, "extension_name", "") == "arrow.json")


def _is_uuid(kind: Any) -> bool:
    return bool(getattr(kind, "extension_name", "") == "arrow.uuid")


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


# --- lists, objects and maps -----------------------------------------------------------------


def _lengths(array: Any) -> list[int | None]:
    """Return the number of elements of each list of an array; None for NULL."""
    lengths: list[int | None] = compute.call_function("list_value_length", [array]).to_pylist()
    return lengths


def _rows(array: Any, texts: Callable[[Any], Texts]) -> Iterator[Texts | None]:
    """Yield the texts of each list of an array; None for NULL."""
    flat = iter(texts(array.flatten()))
    for length in _lengths(array):
        yield None if length is None else [next(flat) for _ in range(length)]


def _elements(array: Any) -> Texts:
    """Return the texts of the elements of PostgreSQL's arrays, quoted if they are no arrays."""
    texts = texts_of(array, Kind.ARRAY)
    return texts if _is_list(array.type) else [text and _quoted(text) for text in texts]


def _array(elements: Texts) -> str:
    return "{" + ",".join("NULL" if text is None else text or '""' for text in elements) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json_texts(array: Any) -> Texts:
    """Return the values as JSON; None for NULL."""
    kind = array.type
    if pa.types.is_map(kind):
        return _objects_of_map(array)
    if _is_list(kind):
        rows = _rows(array, lambda items: [text or "null" for text in _json_texts(items)])
        return [None if row is None else f"[{','.join(map(str, row))}]" for row in rows]
    if pa.types.is_struct(kind):
        members = [
            [f"{_encoded(field.name)}:{text or 'null'}" for text in _json_texts(values)]
            for field, values in zip(kind, array.flatten(), strict=True)
        ]
        rows_of_members = zip(*members, strict=True) if members else [()] * len(array)
        nulls = array.is_null().to_pylist()
        return [
            None if is_null else f"{{{','.join(row)}}}"
            for is_null, row in zip(nulls, rows_of_members, strict=True)
        ]
    texts = texts_of(array, None)
    if pa.types.is_boolean(kind):
        return [text and ("true" if text == "t" else "false") for text in texts]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or _is_json(kind):
        return texts
    if pa.types.is_floating(kind):  # JSON has no NaN and no infinity: they are texts
        return [text if text is None or text[-1].isdigit() else _encoded(text) for text in texts]
    return [None if text is None else _encoded(text) for text in texts]


def _objects_of_map(array: Any) -> Texts:
    keys, values = texts_of(array.keys, None), _json_texts(array.items)
    pairs = iter(zip(keys, values, strict=True))
    objects: Texts = []
    for length in _lengths(array.cast(_as_list(array.type))):
        members = [next(pairs) for _ in range(length or 0)]
        if len({key for key, _ in members}) < len(members):
            raise InexactValue("contains a map with the same key twice")
        text = ",".join(f"{_encoded(str(key))}:{value or 'null'}" for key, value in members)
        objects.append(None if length is None else f"{{{text}}}")
    return objects


def _as_list(kind: Any) -> Any:
    return pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))


def _encoded(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- times -----------------------------------------------------------------------------------


def _microseconds(value: int, unit: str) -> int:
    if unit == "ns":
        return _exactly(value, 1_000)
    return value * (_PER_SECOND["us"] // _PER_SECOND[unit])


def _moment_formatter(kind: Any) -> Callable[[int], str]:
    zone = "+00" if kind.tz else ""
    return lambda value: _timestamp_text(_microseconds(value, kind.unit), zone)


def _clock_formatter(kind: Any) -> Callable[[int], str]:
    return lambda value: _clock_text(_microseconds(value, kind.unit))


def _exactly(value: int, divisor: int) -> int:
    whole, rest = divmod(value, divisor)
    if rest:
        raise InexactValue("contains a time with more digits than microseconds")
    return whole


def _clock_text(micro: int) -> str:
    """Return the time of a day, or the interval, for a number of microseconds."""
    seconds, fraction = divmod(abs(micro), 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{'-' if micro < 0 else ''}{clock}{f'.{fraction:06}' if fraction else ''}"


def _timestamp_text(value: int, zone: str) -> str:
    """Return the timestamp for a number of microseconds since 1970."""
    if abs(value) == INFINITE_MOMENT:
        return "infinity" if value > 0 else "-infinity"
    days, micro = divmod(value, _DAY)
    date, _, era = _date_text(days).partition(" ")
    return f"{date} {_clock_text(micro)}{zone}{f' {era}' if era else ''}"


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


def _uuid_text(value: bytes) -> str:
    return str(UUID(bytes=value))


_FORMATTERS: Sequence[tuple[Callable[[Any], bool], Callable[[Any], Callable[[Any], str]]]] = (
    (pa.types.is_boolean, lambda _: lambda value: "t" if value else "f"),
    (pa.types.is_integer, lambda _: str),
    (pa.types.is_floating, lambda _: float_text),
    (pa.types.is_decimal, lambda _: lambda value: f"{value:f}"),
    (_is_text, lambda _: str),
    (_BINARY.__contains__, lambda _: lambda value: "\\x" + value.hex()),
    (pa.types.is_fixed_size_binary, lambda _: lambda value: "\\x" + value.hex()),
    (_is_uuid, lambda _: _uuid_text),
    (pa.types.is_date32, lambda _: _date_text),
    (pa.types.is_date64, lambda _: lambda value: _date_text(_exactly(value, _DAY // 1_000))),
    (pa.types.is_timestamp, _moment_formatter),
    (pa.types.is_time, _clock_formatter),
    (pa.types.is_duration, _clock_formatter),
    (pa.types.is_null, lambda _: str),
)
"""For each type, the function that returns the converter of its values."""
