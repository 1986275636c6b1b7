"""Many rows in one statement of SQLite: the driver takes half as long for them as one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, Self

from oneoff.data.columns import Kind

if TYPE_CHECKING:
    from oneoff.data.import_plan import Plan

_PARAMETERS = 999
"""Of one statement: every SQLite takes so many, and with more it is no faster."""

# Before a statement that may have to be undone, SQLite keeps a copy of each page that it changes:
# in a table with an index that doubles the time. OR FAIL undoes nothing, but references and checks
# may do so all the same. Conflict clauses of the table must keep their say, and triggers and
# STRICT tables refuse rows in ways that don't tell how many were inserted before.
_SUITS = """
SELECT sql NOT LIKE '%CONFLICT%' AND sql NOT LIKE '%STRICT%'
   AND NOT EXISTS (SELECT 1 FROM main.sqlite_master t WHERE t.type = 'trigger'
                   AND t.tbl_name = m.name)
   AND (NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name))
        OR (sql NOT LIKE '%CHECK%' AND sql NOT LIKE '%REFERENCES%'))
FROM main.sqlite_master m WHERE m.type = 'table' AND m.name = ? COLLATE NOCASE
"""


class ManyRows:
    """Inserts rows into one table, where a conflict is an error that ends the import."""

    def __init__(self, driver: Any, plan: Plan) -> None:
        self._driver, self._width = driver, len(plan.written)
        self._rows = max(_PARAMETERS // self._width, 1)
        row = f"({', '.join('?' * self._width)})"
        values = ", ".join([row] * self._rows)
        self._statement = f"INSERT OR FAIL INTO {plan.table.quoted} ({plan.quoted}) VALUES {values}"  # noqa: S608

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
        whole = len(columns[0]) // self._rows * self._rows
        starts = iter(range(0, whole, self._rows))
        try:
            cursor = await self._driver.executemany(
                self._statement, self._parameters(columns, starts)
            )
        except sqlite3.IntegrityError:
            before = whole - (length_hint(starts) + 1) * self._rows
            ((inserted,),) = await self._driver.execute_fetchall("SELECT changes()")
            return before + int(inserted)
        await cursor.close()
        return whole

    def _parameters(
        self, columns: Sequence[Sequence[Any]], starts: Iterable[int]
    ) -> Iterator[list[Any]]:
        for start in starts:
            values: list[Any] = [None] * (self._rows * self._width)
            for at, column in enumerate(columns):
                values[at :: self._width] = column[start : start + self._rows]
            yield values


def _fits_a_key(column: Any) -> bool:
    """Return whether its values are numbers where the column may be the number of the row.

    SQLite refuses another there in such a way too.
    """
    return column.type.upper() != "INTEGER" or column.kind is Kind.INTEGER
