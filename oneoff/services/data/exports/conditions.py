"""The little language of `--where`: one column, one comparison, one value.

Nothing of it becomes SQL text: the column is one of the table's, the value is a parameter that the
database itself turns into the column's type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import unknown_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.tables import Table

_CONDITION = re.compile(
    r"(?P<column>[^=!<>~]+?)\s*(?P<how>!=|<=|>=|=|<|>|~)\s*(?P<value>.*)", re.DOTALL
)
_NULL = "null"
_SHAPES = "COLUMN=VALUE, with =, !=, <, <=, >, >= or ~ (contains)"
_WHOLE_NUMBER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MOMENT = re.compile(
    r"(\d{4,}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_TRUE, _FALSE = ("true", "t", "yes", "on", "1"), ("false", "f", "no", "off", "0")


class Condition(NamedTuple):
    """One `--where`.

    Attributes:
        text: As typed.
        column: Of the table.
        how: One of = != < <= > >= ~
        value: What it is compared with; None for null.
    """

    text: str
    column: Column
    how: str
    value: str | None


def read_conditions(table: Table, texts: Sequence[str]) -> list[Condition]:
    """Return the conditions, all of which must hold.

    Raises:
        UsageError: All that is wrong with them.
    """
    conditions, problems = [], []
    for text in texts:
        found = _read(table, text)
        if isinstance(found, str):
            problems.append(found)
        else:
            conditions.append(found)
    if problems:
        raise UsageError(problems, code="bad-condition")
    return conditions


def wrong_value(condition: Condition) -> UsageError:
    """Return the error for a value that is none of the column's type."""
    return UsageError(
        f"--where {condition.text!r}: {condition.value!r} is no {condition.column.type}",
        code="bad-condition",
    )


def sqlite_value(condition: Condition) -> str | float | None:
    """Return the value as SQLite keeps those of the column.

    Raises:
        UsageError: It is none of the column's type; SQLite would compare it all the same.
    """
    text, kind = condition.value, condition.column.kind
    if text is None or condition.how == "~":
        return text
    if kind is Kind.BOOLEAN:
        if text.lower() not in _TRUE + _FALSE:
            raise wrong_value(condition)
        return int(text.lower() in _TRUE)
    if kind in (Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC):
        if not (_WHOLE_NUMBER if kind is Kind.INTEGER else _NUMBER).fullmatch(text):
            raise wrong_value(condition)
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else float(text)
    if kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT):
        return _moment(condition, text)
    return text.replace("-", "") if kind is Kind.UUID else text


def _read(table: Table, text: str) -> Condition | str:
    found = _CONDITION.fullmatch(text)
    if not found:
        return f"--where {text!r} is not a condition: {_SHAPES}"
    name, how, value = found["column"].strip(), found["how"], found["value"]
    column = next((column for column in table.columns if column.name == name), None)
    if column is None:
        return f"--where {text!r}: {unknown_column(table, name)}"
    if value.lower() == _NULL:
        if how not in ("=", "!="):
            return f"--where {text!r}: nothing is greater, smaller or like null; use = or !="
        return Condition(text, column, how, None)
    return Condition(text, column, how, value)


def _moment(condition: Condition, text: str) -> str:
    """Return a time in UTC without zeros at its end: they are compared as texts."""
    from datetime import UTC, datetime

    found = _MOMENT.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong_value(condition) from None
    if not found:
        raise wrong_value(condition)
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    if condition.column.kind is Kind.DATE:
        return moment.date().isoformat()
    fraction = f".{moment:%f}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"
