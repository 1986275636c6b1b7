"""What came of an import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Imported(NamedTuple):
    """What came of an import.

    Attributes:
        total: Rows in the file.
        changed: Rows that were inserted or updated.
        rejected: Rows that were left out because they were bad.
        warnings: What the operator should know.
    """

    total: int
    changed: int
    rejected: int = 0
    warnings: Sequence[str] = ()

    @property
    def unchanged(self) -> int:
        """Rows that were there already, and stayed as they were."""
        return self.total - self.changed - self.rejected
