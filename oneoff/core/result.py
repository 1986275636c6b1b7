"""Define `Result`, which a command returns; the executor records it and the output renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command that did not fail returns.

    Create it with `changed`, `unchanged` or `report`.

    Attributes:
        message: One line for the operator, without a full stop.
        did_change: Whether the run changed anything outside the process.
        rows: The number of rows that the command changed, or would change in a dry run.
        data: Data for a table or JSON: a list of mappings with the same keys, or one mapping.
        warnings: Lines that the operator should read although the run succeeded.
        show_once: Secrets that are shown only now, such as a new API key. They are written to
            standard output, never to the log or the record. A dry run does not show them, because
            they would not be valid.
        table: Rows for people, if those of `data` have too many columns for a screen; JSON shows
            `data`.
        answer: One line that `--quiet` prints instead of data and message, for a script: the id of
            a new object. It is redacted like all output.
    """

    message: str = ""
    did_change: bool = False
    rows: int = 0
    data: Any = None
    warnings: Sequence[str] = ()
    show_once: Mapping[str, str] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()
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
        """Return the result of a run that changed something.

        The arguments are the attributes of `Result`; `rows` may be 0 if what changed is no row.
        """
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
        """Return the result of a run that had nothing to do: its record says `unchanged`.

        The arguments are the attributes of `Result`.
        """
        return cls(message=message, data=data, warnings=tuple(warnings), answer=answer)

    @classmethod
    def report(
        cls,
        data: Any,
        message: str = "",
        *,
        warnings: Sequence[str] = (),
        table: Sequence[Mapping[str, Any]] = (),
    ) -> Self:
        """Return the result of a command that only reads.

        The arguments are the attributes of `Result`. Without `data`, only the message is shown.
        """
        return cls(message=message, data=data, warnings=tuple(warnings), table=table)
