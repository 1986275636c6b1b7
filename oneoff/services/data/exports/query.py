"""Which rows and columns an export takes, and in what form."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.conditions import Condition
    from oneoff.services.data.tables import Table


class Selection(NamedTuple):
    """What to export.

    Attributes:
        table: From where.
        columns: In the order they are written.
        conditions: All of which a row must meet.
        limit: Rows at most; None for all.
        masks: Whether personal data is masked.
        excel_safe: Whether cells that a spreadsheet takes for formulas are neutralised (csv).
    """

    table: Table
    columns: Sequence[Column]
    conditions: Sequence[Condition] = ()
    limit: int | None = None
    masks: bool = True
    excel_safe: bool = False

    def hides(self, column: Column) -> bool:
        """Return whether a column's values are masked."""
        return self.masks and column.pii

    @property
    def hidden(self) -> list[str]:
        """Names of the columns that are masked."""
        return [column.name for column in self.columns if self.hides(column)]

    def select(self, items: Sequence[str], tests: Sequence[str]) -> str:
        """Return the SELECT of these items, in the order of the primary key.

        Args:
            items: What is selected, as SQL.
            tests: The conditions, as SQL.
        """
        parts = [f"SELECT {', '.join(items)} FROM {self.table.quoted}"]  # noqa: S608 - quoted
        if tests:
            parts.append("WHERE " + " AND ".join(tests))
        if self.table.key:
            # Of the table: a name alone would be that of an item, which may be a text or a mask.
            key = [f"{self.table.quoted}.{quote(name)}" for name in self.table.key]
            parts.append("ORDER BY " + ", ".join(key))
        if self.limit is not None:
            parts.append(f"LIMIT {self.limit:d}")
        return " ".join(parts)
