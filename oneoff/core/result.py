"""What a command returns: facts, which the executor renders and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a run that reached its end.

    Build one with `changed`, `unchanged` or `report`.

    Attributes:
        message: One line for the operator, without a full stop.
        did_change: Whether anything outside the process is different now.
        rows: Rows the command changed; what a dry run predicts.
        data: Facts for a table or JSON: a list of mappings with the same keys, or one mapping.
        warnings: Lines the operator should read although the run succeeded.
        show_once: Secrets that are shown now and never again (a new API key); they go to standard
            output only, never to the log or the run record. A dry run doesn't show them: they
            would open nothing.
        answer: One line that --quiet prints in place of facts and message: the id of what was
            made, for a script. Redacted as everything is.
    """

    message: str = ""
    did_change: bool = False
    rows: int = 0
    data: Any = None
    warnings: Sequence[str] = ()
    show_once: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""

    @classmethod
    def changed(
        cls,
        message: str,
        *,
        rows: int = 0,
        data: Any = None,
        warnings: Sequence[str] = (),
        show_once: Mapping[str, str] | None = None,
        answer: str = "",
    ) -> Self:
        """Say that something was changed, and how many rows."""
        return cls(
            message=message,
            did_change=True,
            rows=rows,
            data=data,
            warnings=tuple(warnings),
            show_once=show_once or {},
            answer=answer,
        )

    @classmethod
    def unchanged(
        cls, message: str, *, data: Any = None, warnings: Sequence[str] = (), answer: str = ""
    ) -> Self:
        """Say that there was nothing to do: running twice gives the same as once."""
        return cls(message=message, data=data, warnings=tuple(warnings), answer=answer)

    @classmethod
    def report(cls, data: Any, message: str = "", *, warnings: Sequence[str] = ()) -> Self:
        """Return what a reading command found."""
        return cls(message=message, data=data, warnings=tuple(warnings))
