"""Convert the texts of a file to values as SQLAlchemy's types store them in SQLite.

Each value is checked here, because SQLite itself would store "abc" in an integer column and "soon"
in a date column.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from oneoff.database import sqlstates
from oneoff.services.data.columns import Kind

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column

_TRUE, _FALSE = ("t", "true", "y", "yes", "on", "1"), ("f", "false", "n", "no", "off", "0")
_BOOLEANS = {**dict.fromkeys(_TRUE, 1), **dict.fromkeys(_FALSE, 0)}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf}
_DAY_LENGTH = len("2026-01-31")
_LENGTH = re.compile(r"CHAR\w*\s*\(\s*(\d+)\s*\)", re.IGNORECASE)
_SMALL = re.compile(r"\b(?:SMALLINT|INT2)\b", re.IGNORECASE)
_MAX_INT16, _MAX_INT64 = 2**15 - 1, 2**63 - 1

Convert = Callable[[str], Any]


class BadValue(ValueError):
    """A text is not a valid value of its column.

    Attributes:
        at: The text's index among the values.
        state: The SQLSTATE that PostgreSQL would raise for the text.
    """

    def __init__(self, at: int, state: str) -> None:
        super().__init__(at, state)
        self.at, self.state = at, state


class _OutOfRange(ValueError):
    """A value is too long or too large for the column. The argument is the SQLSTATE."""


def convert(column: Column, values: Sequence[str | None]) -> Sequence[Any]:
    """Convert the values of one column in several rows.

    Raises:
        BadValue: A text is not a valid value of the column; the first such text is reported.
    """
    make = _converter(column)
    if make is None:
        return values
    try:
        return _converted_at_once(column, values) or [
            None if value is None else make(value) for value in values
        ]
    except ValueError:
        for at, value in enumerate(values):
            _raise_bad_value(make, at, value)
        raise


def _converted_at_once(column: Column, values: Sequence[str | None]) -> Sequence[Any] | None:
    """Convert all values at once; return None if they must be converted one by one."""
    # all() takes a third of the time of a search for None. Empty texts are false too, but rare.
    given: Sequence[str] = (
        values if all(values) else [value for value in values if value is not None]  # type: ignore[assignment]
    )
    if not given:
        return values
    if column.members:
        return values if set(given) <= set(column.members) else None
    length = _max_length(column)
    if length is not None:
        return values if max(map(len, given)) <= length else None
    quick = None if _is_small(column) else _WHOLE_COLUMN.get(column.kind)
    found = quick(given) if quick else None
    if found is None or len(given) == len(values):
        return found
    rest = iter(found)
    return [None if value is None else next(rest) for value in values]


def _raise_bad_value(make: Convert, at: int, value: str | None) -> None:
    try:
        if value is not None:
            make(value)
    except _OutOfRange as exc:
        raise BadValue(at, str(exc)) from None
    except ValueError:
        raise BadValue(at, sqlstates.INVALID_TEXT_REPRESENTATION) from None


def _converter(column: Column) -> Convert | None:
    if column.kind is Kind.UUID:
        as_hex = "32" in column.type  # CHAR(32), as SQLAlchemy declares it
        return (lambda text: UUID(text).hex) if as_hex else (lambda text: str(UUID(text)))
    if column.members:
        return _member(frozenset(column.members))
    length = _max_length(column)
    if length is not None:
        return _text_within(length)
    if column.precision:
        return _decimal_within(column.precision, column.scale or 0)
    if _is_small(column):
        return _small_integer
    if _stores_numbers(column) and column.kind in _CONVERTERS_TO_NUMBERS:
        return _CONVERTERS_TO_NUMBERS[column.kind]
    return _CONVERTERS.get(column.kind)


def _is_small(column: Column) -> bool:
    return column.kind is Kind.INTEGER and _SMALL.search(column.type) is not None


def _stores_numbers(column: Column) -> bool:
    """Return whether SQLite stores a text that looks like a number as a number in this column."""
    # https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    words = column.type.upper()
    if "INT" in words:
        return True
    return bool(words) and not any(word in words for word in ("CHAR", "CLOB", "TEXT", "BLOB"))


def _member(members: frozenset[str]) -> Convert:
    def check(text: str) -> str:
        if text not in members:
            raise ValueError(text)
        return text

    return check


def _max_length(column: Column) -> int | None:
    found = _LENGTH.search(column.type) if column.kind in (Kind.TEXT, Kind.ENUM) else None
    return int(found[1]) if found else None


def _text_within(length: int) -> Convert:
    def check(text: str) -> str:
        return (
            text if len(text) <= length else _out_of_range(sqlstates.STRING_DATA_RIGHT_TRUNCATION)
        )

    return check


def _out_of_range(state: str) -> NoReturn:
    raise _OutOfRange(state)


def _integers(texts: Sequence[str]) -> list[int] | None:
    """Return the numbers if all texts are digits and fit into 64 bits; otherwise None."""
    joined = "".join(texts)
    if not (joined.isascii() and joined.isdecimal()):
        return None
    numbers = list(map(int, texts))
    return numbers if max(numbers) <= _MAX_INT64 else None


def _booleans(texts: Sequence[str]) -> list[int] | None:
    """Return 1 and 0 if all texts are usual words for true and false; otherwise None."""
    found = list(map(_BOOLEANS.get, texts))
    return None if None in found else found  # type: ignore[return-value]


def _timestamp_texts(texts: Sequence[str]) -> Sequence[str] | None:
    """Return timestamps as SQLAlchemy writes them; None if a text has another form."""
    if set(map(len, texts)) != {_TIMESTAMP_LENGTH}:
        texts = [
            text if len(text) == _TIMESTAMP_LENGTH else _with_microseconds(text) for text in texts
        ]
    return texts if _are_timestamps(texts) else None


def _instant_texts(texts: Sequence[str]) -> Sequence[str] | None:
    """Return UTC timestamps in PostgreSQL's form as SQLAlchemy writes them; otherwise None."""
    has_zone = "+" in texts[0]
    return _timestamp_texts([text.removesuffix("+00") for text in texts] if has_zone else texts)


def _with_microseconds(moment: str) -> str:
    """Return a timestamp with six digits of microseconds."""
    if "." not in moment:
        return f"{moment}.000000"
    return moment if moment.endswith(".") else f"{moment:0<{_TIMESTAMP_LENGTH}}"


def _are_timestamps(texts: Sequence[str]) -> bool:
    """Return whether all texts are timestamps in SQLAlchemy's form.

    Raises:
        ValueError: A text has the form, but is not a valid date and time.
    """
    # The texts have one length and are joined, so one slice has the characters at one position of
    # all texts.
    count = len(texts)
    if set(map(len, texts)) != {_TIMESTAMP_LENGTH}:
        return False
    joined = "".join(texts)
    in_place = all(joined[at::_TIMESTAMP_LENGTH] == sign * count for at, sign in _SIGNS)
    # A time zone would add one of "-", "+" and "Z". Newer Python versions accept 24:00 as the next
    # day.
    no_others = joined.count("-") == 2 * count and "+" not in joined and "Z" not in joined
    if not (in_place and no_others) or " 24:" in joined:
        return False
    deque(map(datetime.fromisoformat, texts), maxlen=0)
    return True


_SAFE_DIGITS = 19
"""The number of digits of the largest 64-bit integer. Longer texts (plus a sign) are not parsed."""
_TIMESTAMP_LENGTH = len("2026-01-31 09:30:00.123456")
_SIGNS = ((4, "-"), (7, "-"), (10, " "), (13, ":"), (16, ":"), (19, "."))
_WHOLE_COLUMN: dict[Kind, Callable[[Sequence[str]], Sequence[Any] | None]] = {
    Kind.BOOLEAN: _booleans,
    Kind.INTEGER: _integers,
    Kind.TIMESTAMP: _timestamp_texts,
    Kind.INSTANT: _instant_texts,
}
"""Converters of an entire column: they take a third of the time of converting each value."""


def _boolean(text: str) -> int:
    found = _BOOLEANS.get(text)
    if found is None:
        found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return found


def _integer(text: str) -> int:
    plain = text.strip()
    if not _INTEGER.fullmatch(plain):
        raise ValueError(text)
    number = int(plain) if len(plain) <= _SAFE_DIGITS + 1 else _MAX_INT64 + 1
    return (
        number
        if -_MAX_INT64 - 1 <= number <= _MAX_INT64
        else _out_of_range(sqlstates.NUMERIC_VALUE_OUT_OF_RANGE)
    )


def _small_integer(text: str) -> int:
    """Refuse what PostgreSQL refuses; SQLite's own integers all have 64 bits."""
    number = _integer(text)
    is_in_range = -_MAX_INT16 - 1 <= number <= _MAX_INT16
    return number if is_in_range else _out_of_range(sqlstates.NUMERIC_VALUE_OUT_OF_RANGE)


def _float(text: str) -> float:
    plain = text.strip()
    if plain in _INFINITE:
        return _INFINITE[plain]
    if not _NUMBER.fullmatch(plain):  # NaN too, which SQLite would store as NULL
        raise ValueError(text)
    return _finite(plain)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _out_of_range(sqlstates.NUMERIC_VALUE_OUT_OF_RANGE)


def _numeric(text: str) -> str | float:
    plain = text.strip()
    if plain in _INFINITE:
        return _INFINITE[plain]
    if not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    return plain


def _number(text: str) -> int | float:
    """Return a number as SQLite stores it; refuse one that it would store as infinity."""
    # Not SQLite's own conversion of a text, which does not always find the nearest number.
    number = _numeric(text)
    whole = _WHOLE.fullmatch(number) if isinstance(number, str) else None
    if whole and len(whole[1]) <= _SAFE_DIGITS + 1:
        integer = int(whole[1])
        return integer if abs(integer) <= _MAX_INT64 else float(integer)
    return _finite(number) if isinstance(number, str) else number


def _decimal_within(precision: int, scale: int) -> Convert:
    """Return a function that rounds numbers as PostgreSQL does, and refuses too large ones."""
    fits = re.compile(rf"-?[0-9]{{0,{max(precision - scale, 0)}}}(?:\.[0-9]{{0,{scale}}})?")
    last_digit, context = Decimal(1).scaleb(-scale), Context(prec=precision)

    def check(text: str) -> int | float:
        if fits.fullmatch(text):
            return _number(text)
        number = _numeric(text)
        try:
            rounded = Decimal(number).quantize(last_digit, ROUND_HALF_UP, context)
        except InvalidOperation:  # it needs more digits than the precision
            _out_of_range(sqlstates.NUMERIC_VALUE_OUT_OF_RANGE)
        return _number(f"{rounded:f}")

    return check


def _text(text: str) -> str:
    """Refuse a text that SQLite would store as infinity. It stores other numbers as numbers."""
    if _NUMBER.fullmatch(text.strip()):
        _finite(text)
    return text


def _binary(text: str) -> bytes:
    if not text.startswith("\\x"):
        raise ValueError(text)
    return bytes.fromhex(text[2:])


def _date(text: str) -> str:
    if len(text) != _DAY_LENGTH:
        raise ValueError(text)
    return date.fromisoformat(text).isoformat()


def _time(text: str) -> str:
    read = time.fromisoformat(text)
    if read.utcoffset():
        raise ValueError(text)
    return read.replace(tzinfo=None).isoformat("microseconds")


def _timestamp(text: str) -> str:
    read = datetime.fromisoformat(text)
    if read.utcoffset():
        raise ValueError(text)
    return read.replace(tzinfo=None).isoformat(" ", "microseconds")


def _instant(text: str) -> str:
    read = datetime.fromisoformat(text)
    if read.tzinfo is not None:
        read = (read if read.tzinfo is UTC else read.astimezone(UTC)).replace(tzinfo=None)
    return read.isoformat(" ", "microseconds")


def _json(text: str) -> str:
    _decoded(text)
    return text


def _json_or_number(text: str) -> str:
    if isinstance(_decoded(text), float):
        _finite(text)
    return text


def _decoded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        _out_of_range(sqlstates.STATEMENT_TOO_COMPLEX)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


_CONVERTERS: dict[Kind, Convert] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.NUMERIC: _numeric,
    Kind.BINARY: _binary,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.INSTANT: _instant,
    Kind.JSON: _json,
}
_CONVERTERS_TO_NUMBERS: dict[Kind, Convert] = {
    Kind.NUMERIC: _number,
    Kind.JSON: _json_or_number,
    **dict.fromkeys((Kind.TEXT, Kind.ENUM, Kind.INTERVAL, Kind.ARRAY, Kind.OTHER), _text),
}
"""Converters for columns in which SQLite stores a text that looks like a number as a number."""
