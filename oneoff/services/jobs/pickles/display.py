"""Show values that were read from a pickle, in bounded time and memory.

A pickle of a few hundred bytes can describe lists of lists that would fill the memory as text, or a
list that contains itself. Secrets are masked by the names of arguments and keys.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from oneoff.services.jobs.pickles.reader import Opaque
from oneoff.utils.redaction import hides
from oneoff.utils.secret_names import MASK

DEEPEST = 20  # levels of nested values that are shown
SHORT = 60
"""Characters of the arguments that a list of jobs shows."""
LONG = 100_000
"""Largest number of characters and of items that `jobs show` shows."""
_LONGEST_NUMBER = 400  # bits; JSON readers use floats, and the largest float has 1,024
_MOST_DIGITS = 400  # of a Decimal
_LONGEST_NAME = 1000  # characters of a name that are checked for the name of a secret
CUT = "…"  # stands for the omitted part


def call_text(args: Iterable[Any], kwargs: Mapping[str, Any], room: int = SHORT) -> str:
    """Return arguments as they are written in a call: `3, name='ada'`, up to `room` characters."""
    # Secrets are masked by their names before the text is truncated. Afterwards a value without its
    # closing quote could not be recognised.
    writer = _Writer(room)
    separator = ""
    for value in args:
        writer.put(separator)
        writer.value(value)
        separator = ", "
    for name, value in kwargs.items():
        writer.put(f"{separator}{_name(name)[:SHORT]}=")
        writer.named(name, value)
        separator = ", "
    return writer.text()


def text(value: Any, room: int = SHORT) -> str:
    """Return the `repr` of a value, truncated to `room` characters."""
    writer = _Writer(room)
    writer.value(value)
    return writer.text()


def truncate(name: str, room: int) -> str:
    """Return a name of at most `room` characters, with lone surrogates escaped."""
    shown = name[: room + 1].encode(errors="backslashreplace").decode()
    return shown if len(shown) <= room else shown[: room - 1] + CUT


def plain(value: Any) -> Any:
    """Return a copy that fits JSON. Other values become strings, and long ones are truncated."""
    return _Copier().of(value, 0)


class _Writer:
    """Write a value like `repr`, and stop when no room is left."""

    def __init__(self, room: int) -> None:
        self._parts: list[str] = []
        self._room = room

    def text(self) -> str:
        whole = "".join(self._parts)
        return whole if self._room >= 0 else whole[: self._room - 1] + CUT

    def put(self, part: str) -> None:
        self._parts.append(part)
        self._room -= len(part)

    def value(self, value: Any, depth: int = 0) -> None:
        value = _made(value)
        if self._room < 0:
            return
        if depth > DEEPEST:
            self.put(CUT)
        elif isinstance(value, Opaque):
            self._opaque(value, depth)
        elif isinstance(value, Mapping):
            self._listed("{", value.items(), "}", depth, self._pair)
        elif isinstance(value, list | set | frozenset):
            self._listed("[", value, "]", depth, self.value)
        elif isinstance(value, tuple):
            self._listed("(", value, ",)" if len(value) == 1 else ")", depth, self.value)
        else:
            self.put(value.isoformat() if isinstance(value, date) else _scalar(value, self._room))

    def named(self, name: Any, value: Any, depth: int = 0) -> None:
        """Write a value, or the mask if its name is the name of a secret."""
        if isinstance(name, str | bytes) and hides(name[:_LONGEST_NAME], value):
            self.put(repr(MASK))
        else:
            self.value(value, depth)

    def _listed(
        self, begin: str, items: Iterable[Any], end: str, depth: int, write: Callable[..., None]
    ) -> None:
        self.put(begin)
        for number, item in enumerate(items):
            if self._room < 0:
                return
            self.put(", " if number else "")
            write(item, depth + 1)
        self.put(end)

    def _pair(self, pair: tuple[Any, Any], depth: int) -> None:
        self.value(pair[0], depth)
        self.put(": ")
        self.named(*pair, depth)

    def _opaque(self, value: Opaque, depth: int) -> None:
        self.put(value.name[: self._room + 1])
        if value.args is None:
            return
        given = [*value.args[:LONG], *([value.items] if value.items else [])]
        self._listed("(", given, ")", depth, self.value)
        # The arguments of an exception are enough. An object without arguments has only a state.
        if not given and isinstance(value.state, Mapping):
            self.value(value.state, depth + 1)


class _Copier:
    """Copy a value to types that JSON has, up to `LONG` items and characters."""

    def __init__(self) -> None:
        self._left = LONG

    def of(self, value: Any, depth: int) -> Any:
        value = _made(value)
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return CUT
        if isinstance(value, Mapping):
            return {
                self._key(key): MASK
                if isinstance(key, str | bytes) and hides(key[:_LONGEST_NAME], item)
                else self.of(item, depth + 1)
                for key, item in self._some(value.items())
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(item, depth + 1) for item in self._some(value)]
        if isinstance(value, str):
            return self._text(value)
        if _fits_json(value) or isinstance(value, date | Decimal | uuid.UUID):
            return value if _fits_json(value) else str(value)
        return self._text(text(value, self._left))

    def _key(self, key: Any) -> str:
        return self._text(_name(key))

    def _text(self, value: str) -> str:
        room = max(self._left, 1)
        self._left -= min(len(value), room)
        return truncate(value, room)

    def _some(self, items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            if self._left < 0:
                return
            yield item


def _name(key: Any) -> str:
    return truncate(key, LONG) if isinstance(key, str) else text(key)


def _fits_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return value.bit_length() < _LONGEST_NUMBER
    return value is None


def _scalar(value: Any, room: int) -> str:
    if isinstance(value, str | bytes | bytearray):
        return repr(value[: room + 1])
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return f"<a number of {value.bit_length()} bits>"
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - raised by a class of the application
        return f"<{type(value).__name__} that can't be shown: {type(exc).__name__}>"


def _made(value: Any) -> Any:
    """Return the object that an Opaque describes if creating it is safe: a date, number or UUID."""
    make = _MAKERS.get(value.name) if isinstance(value, Opaque) else None
    if make is None:
        return value
    try:
        return make(value)
    except (ValueError, TypeError, LookupError, ArithmeticError):
        return value


def _args(value: Opaque) -> tuple[Any, ...]:
    return value.args or ()


def _datetime(value: Opaque) -> Any:
    packed, *zone = _args(value)
    year, month, day, hour, minute, second, fraction = _date_fields(packed, _MOMENT_BYTES)
    moment = datetime(year, month, day, hour, minute, second, fraction)  # noqa: DTZ001 - see below
    # The zone may be an object of a class of the application, which is not created.
    of_utc = bool(zone) and isinstance(zone[0], Opaque) and _is_utc(zone[0])
    return moment.isoformat() + ("+00:00" if of_utc else "")


def _is_utc(zone: Opaque) -> bool:
    (offset, *_) = zone.args or (None,)
    no_offset = isinstance(offset, Opaque) and not any((offset.args or ())[:_DELTA_PARTS])
    return zone.name == "datetime.timezone" and no_offset


def _date_fields(packed: Any, length: int) -> tuple[int, ...]:
    """Read the bytes of a pickled `datetime` or `date`. Raises TypeError for other values."""
    if not isinstance(packed, bytes) or len(packed) != length:
        raise TypeError
    year, month, day = packed[0] * 256 + packed[1], packed[2] & 0x7F, packed[3]
    if length == _DATE_BYTES:
        return year, month, day
    return year, month, day, *packed[4:7], int.from_bytes(packed[7:10])


def _date(value: Opaque) -> date:
    year, month, day = _date_fields(_args(value)[0], _DATE_BYTES)
    return date(year, month, day)


def _timedelta(value: Opaque) -> str:
    parts = _args(value)
    if len(parts) > _DELTA_PARTS or not all(type(part) is int for part in parts):
        raise TypeError
    return str(timedelta(*parts))


def _decimal(value: Opaque) -> Decimal:
    (digits,) = _args(value)
    if not isinstance(digits, str) or len(digits) > _MOST_DIGITS:
        raise TypeError
    return Decimal(digits)


def _uuid(value: Opaque) -> uuid.UUID:
    number = value.state["int"]
    if type(number) is not int:
        raise TypeError
    return uuid.UUID(int=number)


_DATE_BYTES, _MOMENT_BYTES, _DELTA_PARTS = 4, 10, 3
_MAKERS: dict[str, Callable[[Opaque], Any]] = {
    "datetime.datetime": _datetime,
    "datetime.date": _date,
    "datetime.timedelta": _timedelta,
    "decimal.Decimal": _decimal,
    "uuid.UUID": _uuid,
}
