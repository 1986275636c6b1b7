"""Count the rows of an import, and describe the result to the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.services.data.imports.rejects import ERRORS_SUFFIX
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.data.imports.request import ImportRequest


class ImportSummary(NamedTuple):
    """The result of an import.

    Attributes:
        total: Rows in the file.
        changed: Rows that were inserted or updated.
        rejected: Bad rows that were written to the rejects.
        warnings: Messages for the operator.
    """

    total: int
    changed: int
    rejected: int = 0
    warnings: Sequence[str] = ()

    @property
    def unchanged(self) -> int:
        """Rows that already existed and were not changed."""
        return self.total - self.changed - self.rejected


def summary_data(request: ImportRequest, done: ImportSummary) -> dict[str, Any]:
    """Return the summary as JSON data for scripts."""
    return {
        "table": request.table,
        "format": request.format,
        "file": request.path,
        "rows": done.total,
        "imported": done.changed,
        "unchanged": done.unchanged,
        "rejected": done.rejected,
    }


def summary_texts(request: ImportRequest, done: ImportSummary) -> tuple[str, list[str]]:
    """Return the message and the warnings for an operator."""
    message = f"imported {counted(done.changed, 'row')} into {request.table}"
    if not done.changed:
        message = f"nothing to do in {request.table}"
    if done.unchanged:
        message += f": {counted(done.unchanged, 'row')} unchanged"
    warnings = [*done.warnings]
    if done.rejected:
        warnings.append(
            f"left out {done.rejected:,} of {counted(done.total, 'row')}, see {request.rejects}; "
            f"the errors are in {request.rejects}{ERRORS_SUFFIX}"
        )
    return message, warnings
