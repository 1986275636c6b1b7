"""Build the SELECT statement of an export, and parse the conditions of `--where`.

A condition has one column, one comparison and one value. No text that an operator types becomes
SQL: the column must be one of the table's, and the value is a parameter or a quoted literal, which
the database converts to the column's type.
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
    r'(?P<column>"(?:[^"]|"")+"|[^=!<>~]+?)\s*(?P<operator>!=|<=|>=|=|<|>|~)\s*(?P<value>.*)',
    re.DOTALL,
)
_NULL = "null"
_SYNTAX = "write COLUMN=VALUE, or another of =, !=, <, <=, >, >= and ~ (contains)"
_MOMENT = re.compile(
    r"(\d{4,}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_AS_TYPED = (Kind.TEXT, Kind.JSON, Kind.ARRAY, Kind.INTERVAL, Kind.OTHER)


class Condition(NamedTuple):
    """One condition of `--where`.

    Attributes:
        text: The condition as typed.
        column: A column of the table.
        operator: One of = != < <= > >= and ~ (contains).
        value: The value to compare with; None for null.
    """

    text: str
    column: Column
    operator: str
    value: str | None


class Query(NamedTuple):
    """The rows and columns to export.

    Attributes:
        table: The table to read.
        columns: The columns to write, in this order.
        conditions: A row must meet all of them.
        limit: The largest number of rows; None for all.
        mask_pii: Whether to mask personal data.
        excel_safe: Whether to neutralize csv cells that a spreadsheet would read as formulas.
    """

    table: Table
    columns: Sequence[Column]
    conditions: Sequence[Condition] = ()
    limit: int | None = None
    mask_pii: bool = True
    excel_safe: bool = False

    def masks(self, column: Column) -> bool:
        """Return whether the values of a column are masked."""
        return self.mask_pii and column.pii

    @property
    def masked(self) -> list[str]:
        """The names of the masked columns."""
        return [column.name for column in self.columns if self.masks(column)]

    def select(self, expressions: Sequence[str], conditions: Sequence[str]) -> str:
        """Return a SELECT of these expressions, ordered by the primary key.

        Args:
            expressions: The SQL of each value of a row.
            conditions: The SQL of each condition.
        """
        # The rows of tables that inherit from this one are in the exports of those tables.
        source = f"ONLY {self.table.quoted}" if self.table.children else self.table.quoted
        parts = [f"SELECT {', '.join(expressions)} FROM {source}"]  # noqa: S608 - quoted
        if conditions:
            parts.append("WHERE " + " AND ".join(conditions))
        if self.table.key:
            # ORDER BY with a bare name would sort by the expression of that name in the SELECT
            # list, which may be a text or a mask. Qualified by the table, it is the column.
            key = [f"{self.table.quoted}.{quote(name)}" for name in self.table.key]
            parts.append("ORDER BY " + ", ".join(key))
        if self.limit is not None:
            parts.append(f"LIMIT {self.limit:d}")
        return " ".join(parts)


def parse_conditions(table: Table, texts: Sequence[str]) -> list[Condition]:
    """Return the conditions that these texts describe.

    Raises:
        UsageError: Some conditions are invalid; the error lists all of them.
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
    """Return the error for a condition whose value is not of the column's type."""
    return UsageError(
        f"--where {condition.text!r}: {condition.value!r} is not a valid {condition.column.type}",
        code="bad-condition",
    )


def sqlite_value(condition: Condition) -> str | float | bytes | None:
    """Return a condition's value as SQLite stores the values of the column.

    Raises:
        UsageError: It is not of the column's type. SQLite itself would compare it without an
            error.
    """
    from oneoff.services.data.imports.sqlite.values import BadValue, convert

    text, kind = condition.value, condition.column.kind
    if text is None or condition.operator == "~" or kind in _AS_TYPED:
        return text
    if kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT):
        return _utc_text(condition, text)
    try:
        (value,) = convert(condition.column, [text])
    except BadValue:
        raise bad_value(condition) from None
    if kind is Kind.TIME:
        return str(value).rstrip("0").removesuffix(".")  # compared like timestamps
    stored: str | float | bytes = value
    return stored


def _parse(table: Table, text: str) -> Condition | str:
    """Return a condition, or a description of what is wrong with its text."""
    found = _CONDITION.fullmatch(text)
    if not found:
        return f"--where {text!r} is not a condition: {_SYNTAX}"
    name = found["column"].strip()
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    operator, value = found["operator"], found["value"]
    column = next((column for column in table.columns if column.name == name), None)
    if column is None:
        return f"--where {text!r}: {unknown_column(table, name)}"
    if value.lower() == _NULL:
        if operator not in ("=", "!="):
            return f"--where {text!r}: null can only be compared with = or !="
        return Condition(text, column, operator, None)
    if value.lower() == f'"{_NULL}"':
        value = value[1:-1]  # the text, not NULL
    return Condition(text, column, operator, value)


def _utc_text(condition: Condition, text: str) -> str:
    """Return a date or time in UTC without trailing zeros, because SQLite compares them as text."""
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
