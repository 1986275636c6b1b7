"""Many rows in one statement of SQLite: the driver takes half as long for them as one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

from oneoff.services.data.columns import Kind

if TYPE_CHECKING:
    from oneoff.services.data.columns import Column
    from oneoff.services.data.imports.plan import Plan

_PARAMETERS = 999
"""Of one statement: every SQLite takes so many, and with more it is no faster."""

_NULL = bytearray()
"""Stands for NULL among other values: to bind None takes the driver three times as long."""
_VALUE, _VALUE_OR_NULL, _ALWAYS_NULL = "?", "nullif(?, x'')", "NULL"

# Before a statement that may have to be undone, SQLite keeps a copy of each page that it changes:
# in a table with an index that doubles the time. OR FAIL undoes nothing, but references and checks
# may do so all the same. A trigger may leave rows out, and in STRICT tables nobody could tell how
# many were inserted before the one that is refused.
_SUITS = """
SELECT sql NOT LIKE '%STRICT%'
   AND NOT EXISTS (SELECT 1 FROM main.sqlite_master t WHERE t.type = 'trigger'
                   AND t.tbl_name = m.name COLLATE NOCASE)
   AND (NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name))
        OR (sql NOT LIKE '%CHECK%' AND sql NOT LIKE '%REFERENCES%'))
FROM main.sqlite_master m WHERE m.type = 'table' AND m.name = ? COLLATE NOCASE
"""


class ManyRows:
    """Inserts rows into one table, where a conflict is an error that ends the import."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._written = driver, plan.written
        self._rows = max(_PARAMETERS // len(plan.written), 1)
        # What a conflict clause of the table leaves out or replaces, FAIL leaves to the caller.
        self._insert = f"INSERT OR FAIL INTO {plan.table.quoted} ({plan.quoted}) VALUES "  # noqa: S608

    @classmethod
    async def of(cls, driver: Any, plan: Plan) -> Self | None:
        """Return what inserts into the plan's table; None where rows must go one by one."""
        if plan.on_conflict != "error" or not all(map(_fits_a_key, plan.written)):
            return None
        found = await driver.execute_fetchall(_SUITS, (plan.table.place[1],))
        return cls(driver, plan) if found and found[0][0] else None

    async def insert(self, columns: Sequence[Sequence[Any]]) -> int:
        """Insert rows from the first on, and return how many.

        The others, fewer than a statement holds or from a row on that was refused, are left to the
        caller.

        Args:
            columns: The values, by column.
        """
        rows = self._rows
        whole = len(columns[0]) // rows * rows
        marks = [_mark(column, of) for column, of in zip(columns, self._written, strict=True)]
        row = f"({', '.join(marks)})"
        bound = [_bound(column, mark) for column, mark in zip(columns, marks, strict=True)]
        starts = iter(range(0, whole, rows))
        try:
            cursor = await self._driver.executemany(
                self._insert + ", ".join([row] * rows),
                _parameters([column for column in bound if column], starts, rows),
            )
        except sqlite3.IntegrityError:
            before = whole - (length_hint(starts) + 1) * rows
            ((inserted,),) = await self._driver.execute_fetchall("SELECT changes()")
            return before + int(inserted)
        await cursor.close()
        return whole


def _mark(values: Sequence[Any], column: Column) -> str:
    """Return how the values of a column stand in the statement."""
    if all(values) or None not in values:  # the former is quick, and most often enough
        return _VALUE
    if not any(value is not None for value in values):
        return _ALWAYS_NULL
    # An empty blob is a value there.
    return _VALUE if column.kind is Kind.BINARY else _VALUE_OR_NULL


def _bound(values: Sequence[Any], mark: str) -> Sequence[Any]:
    if mark == _ALWAYS_NULL:
        return ()
    if mark == _VALUE:
        return values
    return [_NULL if value is None else value for value in values]


def _parameters(
    columns: Sequence[Sequence[Any]], starts: Iterable[int], rows: int
) -> Iterator[list[Any]]:
    """Give the parameters of one statement after the other, in the driver's thread."""
    width = len(columns)
    for start in starts:
        values: list[Any] = [None] * (rows * width)
        for at, column in enumerate(columns):
            values[at::width] = column[start : start + rows]
        yield values


def _fits_a_key(column: Column) -> bool:
    """Return whether its values are numbers where the column may be the number of the row.

    SQLite refuses another there in such a way too.
    """
    return column.type.upper() != "INTEGER" or column.kind is Kind.INTEGER
