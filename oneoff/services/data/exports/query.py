"""Which rows and columns an export reads: its SELECT statement, and the conditions of `--where`.

A condition is one column, one comparison, one value. No text of an operator becomes SQL: the column
is one of the table's, and the value is a parameter or a quoted literal that the database itself
converts to the column's type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.services.data.columns import Kind
from oneoff.services.data.tables import quote, unknown_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.tables import Table

_CONDITION = re.compile(
    r"(?P<column>[^=!<>~]+?)\s*(?P<operator>!=|<=|>=|=|<|>|~)\s*(?P<value>.*)", re.DOTALL
)
_NULL = "null"
_SYNTAX = "COLUMN=VALUE, with =, !=, <, <=, >, >= or ~ (contains)"
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
        operator: One of = != < <= > >= and ~, which is "contains".
        value: To compare with; None for null.
    """

    text: str
    column: Column
    operator: str
    value: str | None


class Query(NamedTuple):
    """The rows and columns to export.

    Attributes:
        table: The table.
        columns: In the order they are written.
        conditions: All of which a row must meet.
        limit: Rows at most; None for all.
        mask_pii: Whether personal data is masked.
        excel_safe: Whether cells of csv that a spreadsheet takes for formulas are neutralised.
    """

    table: Table
    columns: Sequence[Column]
    conditions: Sequence[Condition] = ()
    limit: int | None = None
    mask_pii: bool = True
    excel_safe: bool = False

    def masks(self, column: Column) -> bool:
        """Return whether a column's values are masked."""
        return self.mask_pii and column.pii

    @property
    def masked(self) -> list[str]:
        """Names of the columns that are masked."""
        return [column.name for column in self.columns if self.masks(column)]

    def select(self, expressions: Sequence[str], conditions: Sequence[str]) -> str:
        """Return the SELECT of these expressions, in the order of the primary key.

        Args:
            expressions: SQL of the values of a row.
            conditions: SQL of the conditions.
        """
        parts = [f"SELECT {', '.join(expressions)} FROM {self.table.quoted}"]  # noqa: S608 - quoted
        if conditions:
            parts.append("WHERE " + " AND ".join(conditions))
        if self.table.key:
            # With the table: the bare name is that of an expression, which may be a text or a mask.
            key = [f"{self.table.quoted}.{quote(name)}" for name in self.table.key]
            parts.append("ORDER BY " + ", ".join(key))
        if self.limit is not None:
            parts.append(f"LIMIT {self.limit:d}")
        return " ".join(parts)


def parse_conditions(table: Table, texts: Sequence[str]) -> list[Condition]:
    """Return the conditions, all of which a row must meet.

    Raises:
        UsageError: Names all that are wrong.
    """
    conditions, problems = [], []
    for text in texts:
        found = _parse(table, text)
        if isinstance(found, str):
            problems.append(found)
        else:
            conditions.append(found)
    if problems:
        raise UsageError(problems, code="bad-condition")
    return conditions


def bad_value(condition: Condition) -> UsageError:
    """Return the error for a value that is not of the column's type."""
    return UsageError(
        f"--where {condition.text!r}: {condition.value!r} is no {condition.column.type}",
        code="bad-condition",
    )


def sqlite_value(condition: Condition) -> str | float | None:
    """Return the value in the form in which SQLite stores those of the column.

    Raises:
        UsageError: It is not of the column's type; SQLite would compare it without an error.
    """
    text, kind = condition.value, condition.column.kind
    if text is None or condition.operator == "~":
        return text
    if kind is Kind.BOOLEAN:
        if text.lower() not in _TRUE + _FALSE:
            raise bad_value(condition)
        return int(text.lower() in _TRUE)
    if kind in (Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC):
        if not (_WHOLE_NUMBER if kind is Kind.INTEGER else _NUMBER).fullmatch(text):
            raise bad_value(condition)
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else float(text)
    if kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT):
        return _utc_text(condition, text)
    return text.replace("-", "") if kind is Kind.UUID else text


def _parse(table: Table, text: str) -> Condition | str:
    """Return a condition, or what is wrong with its text."""
    found = _CONDITION.fullmatch(text)
    if not found:
        return f"--where {text!r} is not a condition: {_SYNTAX}"
    name, operator, value = found["column"].strip(), found["operator"], found["value"]
    column = next((column for column in table.columns if column.name == name), None)
    if column is None:
        return f"--where {text!r}: {unknown_column(table, name)}"
    if value.lower() == _NULL:
        if operator not in ("=", "!="):
            return f"--where {text!r}: nothing is greater, smaller or like null; use = or !="
        return Condition(text, column, operator, None)
    return Condition(text, column, operator, value)


def _utc_text(condition: Condition, text: str) -> str:
    """Return a date or time in UTC without zeros at its end: SQLite compares them as text."""
    from datetime import UTC, datetime

    found = _MOMENT.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_value(condition) from None
    if not found:
        raise bad_value(condition)
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    if condition.column.kind is Kind.DATE:
        return moment.date().isoformat()
    fraction = f".{moment:%f}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"
