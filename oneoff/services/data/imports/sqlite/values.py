"""Texts of a file as the values that SQLite keeps, in the form SQLAlchemy's types give them.

SQLite itself would take "abc" for an integer and "soon" for a date: each value is checked here.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from oneoff.services.data.columns import Kind

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column

_TRUE, _FALSE = ("t", "true", "y", "yes", "on", "1"), ("f", "false", "n", "no", "off", "0")
_BOOLEANS = {**dict.fromkeys(_TRUE, 1), **dict.fromkeys(_FALSE, 0)}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf}
_DAY_LENGTH = len("2026-01-31")
_LENGTH = re.compile(r"CHAR\w*\s*\(\s*(\d+)\s*\)", re.IGNORECASE)
_MOST = 2**63 - 1

Convert = Callable[[str], Any]


class BadValue(ValueError):
    """A text is no value of its column.

    Attributes:
        at: Its place among those that were converted.
        state: The SQLSTATE that PostgreSQL would have for it.
    """

    def __init__(self, at: int, state: str) -> None:
        super().__init__(at, state)
        self.at, self.state = at, state


class _TooLarge(ValueError):
    """Beyond what the column keeps."""


def convert(column: Column, values: Sequence[str | None]) -> Sequence[Any]:
    """Return the values of one column of several rows.

    Raises:
        BadValue: The first that is none of the column's.
    """
    make = _converter(column)
    if make is None:
        return values
    try:
        return _quickly(column, values) or [
            None if value is None else make(value) for value in values
        ]
    except ValueError:
        for at, value in enumerate(values):
            _check_one(make, at, value)
        raise


def _quickly(column: Column, values: Sequence[str | None]) -> Sequence[Any] | None:
    """Return the values all at once; None where they must be looked at one by one."""
    # Empty texts are rare: to ask for what is false takes a third of the time.
    given: Sequence[str] = (
        values if all(values) else [value for value in values if value is not None]  # type: ignore[assignment]
    )
    if not given:
        return values
    length = _length(column)
    if length is not None:
        return values if max(map(len, given)) <= length else None
    quick = _QUICK.get(column.kind)
    found = quick(given) if quick else None
    if found is None or len(given) == len(values):
        return found
    rest = iter(found)
    return [None if value is None else next(rest) for value in values]


def _check_one(make: Convert, at: int, value: str | None) -> None:
    try:
        if value is not None:
            make(value)
    except _TooLarge as exc:
        raise BadValue(at, str(exc)) from None
    except ValueError:
        raise BadValue(at, "22P02") from None


def _converter(column: Column) -> Convert | None:
    if column.kind is Kind.UUID:
        return _plain_uuid if "32" in column.type else _dashed_uuid
    length = _length(column)
    return _CONVERTERS.get(column.kind) if length is None else _within(length)


def _length(column: Column) -> int | None:
    found = _LENGTH.search(column.type) if column.kind in (Kind.TEXT, Kind.ENUM) else None
    return int(found[1]) if found else None


def _within(length: int) -> Convert:
    def check(text: str) -> str:
        return text if len(text) <= length else _refuse("22001")

    return check


def _refuse(state: str) -> NoReturn:
    raise _TooLarge(state)


def _integers(texts: Sequence[str]) -> list[int] | None:
    """Return plain numbers within 64 bits; None for others."""
    joined = "".join(texts)
    if not (joined.isascii() and joined.isdecimal()):
        return None
    numbers = list(map(int, texts))
    return numbers if max(numbers) <= _MOST else None


def _booleans(texts: Sequence[str]) -> list[int] | None:
    """Return the usual words for true and false; None for others."""
    found = list(map(_BOOLEANS.get, texts))
    return None if None in found else found  # type: ignore[return-value]


def _moments(texts: Sequence[str]) -> Sequence[str] | None:
    """Return times of a day as SQLAlchemy writes them; None for those in other forms."""
    if set(map(len, texts)) != {_MOMENT}:
        texts = [text if len(text) == _MOMENT else _filled(text) for text in texts]
    return texts if _are_moments(texts) else None


def _instants(texts: Sequence[str]) -> Sequence[str] | None:
    """Return instants in UTC in the form of PostgreSQL, or in SQLAlchemy's; None for others."""
    has_zone = "+" in texts[0]
    return _moments([text.removesuffix("+00") for text in texts] if has_zone else texts)


def _filled(moment: str) -> str:
    """Write microseconds to their last digit."""
    if "." not in moment:
        return f"{moment}.000000"
    return moment if moment.endswith(".") else f"{moment:0<{_MOMENT}}"


def _are_moments(texts: Sequence[str]) -> bool:
    """Return whether all are times in one form: its signs stand where they must, and nowhere else.

    Raises:
        ValueError: One has the form, and is no time.
    """
    count = len(texts)
    if set(map(len, texts)) != {_MOMENT}:
        return False
    joined = "".join(texts)
    in_place = all(joined[at::_MOMENT] == sign * count for at, sign in _SIGNS)
    # A zone would have one more. To newer Pythons 24:00 is the next day.
    alone = joined.count("-") == 2 * count and "+" not in joined and "Z" not in joined
    if not (in_place and alone) or " 24:" in joined:
        return False
    deque(map(datetime.fromisoformat, texts), maxlen=0)
    return True


_SAFE = 19
"""Digits of which any number is within 64 bits, and one."""
_MOMENT = len("2026-01-31 09:30:00.123456")
_SIGNS = ((4, "-"), (7, "-"), (10, " "), (13, ":"), (16, ":"), (19, "."))
_QUICK: dict[Kind, Callable[[Sequence[str]], Sequence[Any] | None]] = {
    Kind.BOOLEAN: _booleans,
    Kind.INTEGER: _integers,
    Kind.TIMESTAMP: _moments,
    Kind.INSTANT: _instants,
}
"""Whole columns at once: a third of the time of value by value."""


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
    number = int(plain) if len(plain) <= _SAFE + 1 else _MOST + 1
    return number if -_MOST - 1 <= number <= _MOST else _refuse("22003")


def _float(text: str) -> float:
    plain = text.strip()
    if plain in _INFINITE:
        return _INFINITE[plain]
    if not _NUMBER.fullmatch(plain):  # NaN too, of which SQLite would make NULL
        raise ValueError(text)
    number = float(plain)
    return number if math.isfinite(number) else _refuse("22003")


def _numeric(text: str) -> str | float:
    plain = text.strip()
    if plain in _INFINITE:
        return _INFINITE[plain]
    if not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    return plain  # SQLite makes the number of it that loses nothing


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
    if read.tzinfo:
        raise ValueError(text)
    return read.isoformat("microseconds")


def _timestamp(text: str) -> str:
    read = datetime.fromisoformat(text)
    if read.tzinfo:
        raise ValueError(text)
    return read.isoformat(" ", "microseconds")


def _instant(text: str) -> str:
    read = datetime.fromisoformat(text)
    if read.tzinfo is not None:
        read = (read if read.tzinfo is UTC else read.astimezone(UTC)).replace(tzinfo=None)
    return read.isoformat(" ", "microseconds")


def _json(text: str) -> str:
    json.loads(text, parse_constant=_no_constant)
    return text


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _plain_uuid(text: str) -> str:
    return UUID(text).hex


def _dashed_uuid(text: str) -> str:
    return str(UUID(text))


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
