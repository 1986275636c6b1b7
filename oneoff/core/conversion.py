"""Convert the texts of a command line into the values that a command declared.

The type of a field decides how its text is parsed: str, int, float, bool, Enum, Path, date,
datetime, timedelta ("90d"), UUID, Decimal, Literal, list[T] and T | None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

_UNITS = {
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
_UNITS_SHOWN = ("d", "h", "m", "s", "ms")
_BARE_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
_WHOLE_NUMBER = re.compile(r"[+-]?\d+(?:_\d+)*")
_LEAST, _MOST = -(2**63), 2**63 - 1  # the bigints of PostgreSQL, and the integers of SQLite
_LONGEST = "999999999d"  # the longest timedelta
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class Shape(NamedTuple):
    """How values of one type are parsed and described.

    Attributes:
        parse: Converts one text to one value; raises ValueError.
        expects: The words for a valid value in error messages: "a whole number".
        accepts: The classes that a value given from code may have.
        metavar: The word for the value in help: `NUMBER`.
        choices: The allowed texts; empty if any text may be parsed.
        many: Whether the type is `list[T]`.
        hint: Returns an addition to the error message for a wrong text, with its punctuation.
    """

    parse: Callable[[str], Any]
    expects: str
    accepts: tuple[type, ...]
    metavar: str = "TEXT"
    choices: tuple[str, ...] = ()
    many: bool = False
    hint: Callable[[str], str] = lambda _: ""


def parse_duration(text: str) -> Any:
    """Parse "90d", "1h30m" or "250ms" as a timedelta. Units are w d h m s ms."""
    from datetime import timedelta

    if text == "0":
        return timedelta()  # zero is the same in every unit
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(text) from None


def duration_text(value: timedelta) -> str:
    """Return a duration in the form that `parse_duration` takes: "1h30m". Weeks become days.

    Args:
        value: The duration; not negative. Parts of a millisecond are left out.
    """
    from datetime import timedelta

    left, parts = value, []
    for unit in _UNITS_SHOWN:
        count, left = divmod(left, timedelta(seconds=_UNITS[unit]))
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"


def duration_hint(text: str) -> str:
    """Return a hint for a number without a unit, or a duration that is too long; or empty."""
    if _BARE_NUMBER.fullmatch(text):
        return f": it has no unit; write {text}s for seconds, {text}m for minutes"
    is_duration = re.fullmatch(f"(?:{_DURATION_PART.pattern})+", text)
    return f": it is longer than {_LONGEST}" if is_duration else ""


def _parse_int(text: str) -> int:
    number = int(text)
    if not _LEAST <= number <= _MOST:
        raise ValueError(text)
    return number


def _range_hint(text: str) -> str:
    """Return the limit that a whole number exceeds; empty for other texts."""
    if not _WHOLE_NUMBER.fullmatch(text.strip()):
        return ""
    return f" of at least {_LEAST}" if text.strip().startswith("-") else f" of at most {_MOST}"


def _parse_bool(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _parse_datetime(text: str) -> Any:
    from datetime import UTC, datetime

    parsed = datetime.fromisoformat(text)
    # Without a zone the time is UTC, so it means the same instant on every machine.
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _by_constructor(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ArithmeticError:  # decimal.InvalidOperation
            raise ValueError(text) from None

    return parse


def _by_text(annotation: Any, pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return what each text stands for.

    Raises:
        TypeError: A text stands for two things: for 1 and "1".
    """
    found: dict[str, Any] = {}
    for value, meant in pairs:
        if found.setdefault(str(value), meant) is not meant:
            message = f"{annotation!r} has two values that are typed alike: {value}"
            raise TypeError(message)
    return found


def _enum_shape(kind: type[Enum]) -> Shape:
    # Iterating over a Flag would leave out the member with the value 0.
    members = _by_text(kind, [(each.value, each) for each in kind.__members__.values()])
    by_name = {name.lower(): member for name, member in kind.__members__.items()}

    def parse(text: str) -> Any:
        # A member may be false: that of an IntEnum with the value 0, for example.
        for found, key in ((members, text), (members, text.lower()), (by_name, text.lower())):
            if key in found:
                return found[key]
        raise ValueError(text)

    choices = tuple(members)
    return Shape(
        parse,
        "one of " + ", ".join(choices),
        (kind,),
        "|".join(choices),
        choices,
        hint=lambda text: _did_you_mean(text, choices),
    )


def _literal_shape(annotation: Any) -> Shape:
    values = get_args(annotation)
    texts = _by_text(annotation, [(value, value) for value in values])

    def parse(text: str) -> Any:
        if text not in texts:
            raise ValueError(text)
        return texts[text]

    kinds = tuple({type(value) for value in values})
    choices = tuple(texts)
    return Shape(
        parse,
        "one of " + ", ".join(choices),
        kinds,
        "|".join(choices),
        choices,
        hint=lambda text: _did_you_mean(text, choices),
    )


def _did_you_mean(text: str, choices: tuple[str, ...]) -> str:
    from oneoff.utils.suggestions import similar

    found = similar(text.lower(), choices, limit=1)
    return f": did you mean {found[0]}?" if found else ""


def _named_shape(kind: type) -> Shape | None:
    """Return the shape of a class of the standard library, without importing its module."""
    if kind.__module__.partition(".")[0] == "pathlib":
        return Shape(kind, "a path", _pure_path(kind), "PATH")
    name = f"{kind.__module__}.{kind.__qualname__}"
    known = {
        "builtins.str": Shape(str, "a string", (str,)),
        "builtins.int": Shape(_parse_int, "a whole number", (int,), "NUMBER", hint=_range_hint),
        "builtins.float": Shape(float, "a number", (int, float), "NUMBER"),
        "builtins.bool": Shape(_parse_bool, "true or false", (bool,), "true|false"),
        "decimal.Decimal": Shape(_by_constructor(kind), "a decimal number", (kind, int), "NUMBER"),
        "uuid.UUID": Shape(kind, "a UUID", (kind,), "UUID"),
        "datetime.timedelta": Shape(
            parse_duration,
            "a duration such as 90d, 24h, 5m or 1h30m",
            (kind,),
            "DURATION",
            hint=duration_hint,
        ),
        "datetime.datetime": Shape(
            _parse_datetime, "a date and time such as 2026-01-31T09:30:00Z", (kind,), "DATETIME"
        ),
        "datetime.date": Shape(
            getattr(kind, "fromisoformat", kind), "a date such as 2026-01-31", (kind,), "DATE"
        ),
    }
    return known.get(name)


def _pure_path(kind: type) -> tuple[type, ...]:
    return tuple(base for base in kind.__mro__ if base.__name__ == "PurePath") or (kind,)


def shape_of(annotation: Any) -> Shape:
    """Return how to parse values of a type.

    Raises:
        TypeError: Values of this type can't be given on a command line.
    """
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        if len(inner) == 1:
            return shape_of(inner[0])
    elif origin is list:
        (item,) = get_args(annotation)
        return shape_of(item)._replace(many=True)
    elif origin is Literal:
        return _literal_shape(annotation)
    elif isinstance(annotation, type):
        shape = _enum_shape(annotation) if issubclass(annotation, Enum) else None
        shape = shape or _named_shape(annotation)
        if shape:
            return shape
    message = (
        f"{annotation!r} can't be given on a command line; use str, int, float, bool, Enum, Path, "
        "date, datetime, timedelta, UUID, Decimal, Literal, list[T] or T | None"
    )
    raise TypeError(message)
