"""Show values that were read from a pickle: within a bound, whatever they hold.

A few hundred bytes of pickle can stand for a list of lists that would fill the memory when
written out, or that contains itself.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from oneoff.arq_jobs.pickles import Opaque

DEEPEST = 20
SHORT = 60
"""Characters of a preview in a list."""
LONG = 100_000
"""Characters and items of what is shown whole."""
_LONGEST_NUMBER = 400  # bits: a float's largest has 1024
CUT = "…"


def call_text(args: Iterable[Any], kwargs: Mapping[str, Any], room: int = SHORT) -> str:
    """Return arguments as they are written in a call: `3, name='ada'`."""
    pen = _Pen(room)
    separator = ""
    for value in args:
        pen.put(separator)
        pen.value(value)
        separator = ", "
    for name, value in kwargs.items():
        pen.put(f"{separator}{str(name)[:SHORT]}=")
        pen.value(value)
        separator = ", "
    return pen.text()


def text(value: Any, room: int = SHORT) -> str:
    """Return what `repr` would, cut off behind that many characters."""
    pen = _Pen(room)
    pen.value(value)
    return pen.text()


def plain(value: Any) -> Any:
    """Return a copy that JSON can hold; what it can't is a text, and too much is cut off."""
    return _Copy().of(value, 0)


class _Pen:
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
        value = _known(value)
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
        self.value(pair[1], depth)

    def _opaque(self, value: Opaque, depth: int) -> None:
        self.put(value.name[: self._room + 1])
        if value.args is None:
            return
        given = [*value.args[:LONG], *([value.items] if value.items else [])]
        self._listed("(", given, ")", depth, self.value)
        # What an exception was made with says enough; an object made with nothing has only this.
        if not given and isinstance(value.state, Mapping):
            self.value(value.state, depth + 1)


class _Copy:
    def __init__(self) -> None:
        self._left = LONG

    def of(self, value: Any, depth: int) -> Any:
        value = _known(value)
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return CUT
        if isinstance(value, Mapping):
            return {_name(key): self.of(item, depth + 1) for key, item in self._some(value.items())}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(item, depth + 1) for item in self._some(value)]
        if isinstance(value, str):
            self._left -= len(value)
            return value if self._left >= 0 else value[:LONG] + CUT
        if _fits_json(value) or isinstance(value, date | Decimal | uuid.UUID):
            return value if _fits_json(value) else str(value)
        return text(value, max(self._left, 0))

    def _some(self, items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            if self._left < 0:
                return
            yield item


def _name(key: Any) -> str:
    return key if isinstance(key, str) else text(key)


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
    return repr(value)


def _known(value: Any) -> Any:
    """Return what an Opaque stands for, where making it can do no harm: dates, numbers, ids."""
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
    year, month, day, *rest = date_parts(packed)
    hour, minute, second, fraction = rest
    moment = datetime(year, month, day, hour, minute, second, fraction)  # noqa: DTZ001 - see below
    # Its zone may be an object of the application's, which is not made.
    of_utc = bool(zone) and isinstance(zone[0], Opaque) and _is_utc(zone[0])
    return moment.isoformat() + ("+00:00" if of_utc else "")


def _is_utc(zone: Opaque) -> bool:
    (offset, *_) = zone.args or (None,)
    no_offset = isinstance(offset, Opaque) and not any(offset.args or ())
    return zone.name == "datetime.timezone" and no_offset


def date_parts(packed: bytes) -> tuple[int, ...]:
    """Read the bytes that `datetime` and `date` are pickled as."""
    year, month, day = packed[0] * 256 + packed[1], packed[2] & 0x7F, packed[3]
    if len(packed) == _DATE_BYTES:
        return year, month, day
    return year, month, day, *packed[4:7], int.from_bytes(packed[7:10])


def _date(value: Opaque) -> date:
    year, month, day = date_parts(_args(value)[0])
    return date(year, month, day)


_DATE_BYTES = 4
_MAKERS: dict[str, Callable[[Opaque], Any]] = {
    "datetime.datetime": _datetime,
    "datetime.date": _date,
    "datetime.timedelta": lambda value: str(timedelta(*_args(value))),
    "decimal.Decimal": lambda value: Decimal(str(_args(value)[0])[:SHORT]),
    "uuid.UUID": lambda value: uuid.UUID(int=value.state["int"]),
}
