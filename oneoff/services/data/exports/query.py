"""Which rows and columns an export reads, and its SELECT statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.data.tables import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.data.columns import Column
    from oneoff.services.data.exports.conditions import Condition
    from oneoff.services.data.tables import Table


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
