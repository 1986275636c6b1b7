"""Insert several rows into SQLite with one statement, in half the time of one statement per row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

from oneoff.services.data.columns import Kind

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

_MOST_PARAMETERS = 999
"""Parameters of one statement. Every SQLite version accepts 999, and more are not faster."""

_NULL = bytearray()
"""Replaces None in a column that has values too. Binding None takes three times as long."""
_VALUE, _VALUE_OR_NULL, _ALWAYS_NULL = "?", "nullif(?, x'')", "NULL"

# Whether a table can be written in this way.
# - SQLite copies each page before a statement changes it, if it may have to undo the statement. In
#   a table with an index this doubles the time. INSERT OR FAIL keeps the rows before a refused one,
#   so nothing must be undone. But CHECK constraints and references may still undo the statement.
# - A trigger may leave rows out, and a STRICT table refuses a wrong type without counting. Then
#   changes() would not return the number of rows that were inserted before the refused one.
_SUITABLE = """
SELECT sql NOT LIKE '%STRICT%'
   AND NOT EXISTS (SELECT 1 FROM main.sqlite_master t WHERE t.type = 'trigger'
                   AND t.tbl_name = m.name COLLATE NOCASE)
   AND (NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name))
        OR (sql NOT LIKE '%CHECK%' AND sql NOT LIKE '%REFERENCES%'))
FROM main.sqlite_master m WHERE m.type = 'table' AND m.name = ? COLLATE NOCASE
"""


class MultiRowInsert:
    """Inserts rows into one table, for imports that end at the first refused row."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._written = driver, plan.written
        self._rows = max(_MOST_PARAMETERS // len(plan.written), 1)
        # FAIL overrides an ON CONFLICT clause of the table. A row that this clause would ignore or
        # replace is refused here, and the caller inserts it.
        self._insert = f"INSERT OR FAIL INTO {plan.table.quoted} ({plan.quoted_columns}) VALUES "  # noqa: S608

    @classmethod
    async def of(cls, driver: Any, plan: Plan) -> Self | None:
        """Return an object for the plan's table; None if each row needs its own statement."""
        if plan.on_conflict != "error" or not all(map(_is_safe_as_rowid, plan.written)):
            return None
        found = await driver.execute_fetchall(_SUITABLE, (plan.table.schema_and_name[1],))
        return cls(driver, plan) if found and found[0][0] else None

    async def insert(self, columns: Sequence[Sequence[Any]]) -> int:
        """Insert rows in their order, and return the number of inserted rows.

        The caller inserts the remaining rows: the last ones, which are too few for a statement, or
        all rows from a refused row on.

        Args:
            columns: The values of each column.
        """
        rows = self._rows
        whole = len(columns[0]) // rows * rows
        expressions = [
            _expression(values, column)
            for values, column in zip(columns, self._written, strict=True)
        ]
        row = f"({', '.join(expressions)})"
        bound = [
            _bound(values, expression)
            for values, expression in zip(columns, expressions, strict=True)
        ]
        starts = iter(range(0, whole, rows))
        try:
            cursor = await self._driver.executemany(
                self._insert + ", ".join([row] * rows),
                _parameters([values for values in bound if values], starts, rows),
            )
        except sqlite3.IntegrityError:
            # All statements before the failed one are complete. changes() counts the rows that the
            # failed one inserted.
            before = whole - (length_hint(starts) + 1) * rows
            ((inserted,),) = await self._driver.execute_fetchall("SELECT changes()")
            return before + int(inserted)
        await cursor.close()
        return whole


def _expression(values: Sequence[Any], column: Column) -> str:
    """Return the SQL of a value of a column."""
    if all(values) or None not in values:  # all() is faster, and usually enough
        return _VALUE
    if not any(value is not None for value in values):
        return _ALWAYS_NULL
    # In a blob column the empty blob `_NULL` would be a value, not NULL.
    return _VALUE if column.kind is Kind.BINARY else _VALUE_OR_NULL


def _bound(values: Sequence[Any], expression: str) -> Sequence[Any]:
    """Return the parameters of a column; an empty sequence if it is always NULL."""
    if expression == _ALWAYS_NULL:
        return ()
    if expression == _VALUE:
        return values
    return [_NULL if value is None else value for value in values]


def _parameters(
    columns: Sequence[Sequence[Any]], starts: Iterable[int], rows: int
) -> Iterator[list[Any]]:
    """Yield the parameters of each statement. Runs in the driver's thread."""
    width = len(columns)
    for start in starts:
        values: list[Any] = [None] * (rows * width)
        for at, column in enumerate(columns):
            values[at::width] = column[start : start + rows]
        yield values


def _is_safe_as_rowid(column: Column) -> bool:
    """Return whether a column of type INTEGER, which may be the rowid, gets only integers.

    SQLite refuses any other value in the rowid without counting, as in STRICT tables.
    """
    return column.type.upper() != "INTEGER" or column.kind is Kind.INTEGER
