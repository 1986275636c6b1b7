"""What an operator asks of `data import`. Loads nothing of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from oneoff.data.files import STDOUT, format_of
from oneoff.errors import UsageError

if TYPE_CHECKING:
    from oneoff.data.files import Format

OnConflict = Literal["error", "skip", "update"]
STDIN = STDOUT


class Request(NamedTuple):
    """What an operator asks for; the words are those of `data import`.

    Attributes:
        table: Name of the table.
        path: Of the file; "-" for standard input.
        kind: The format; None takes that of the file's name.
        on_conflict: What becomes of a row that is there already.
        key: Columns that find it; none for the primary key.
        columns: The file's columns that are imported; none for all.
        rejects: File for bad rows; empty to import nothing if there are any.
    """

    table: str
    path: str
    kind: Format | None = None
    on_conflict: OnConflict = "error"
    key: Sequence[str] = ()
    columns: Sequence[str] = ()
    rejects: str = ""

    @property
    def format(self) -> Format:
        """The format it is read in.

        Raises:
            UsageError: Nothing says which.
        """
        kind = self.kind or format_of(self.path)
        if kind == "sql":
            raise UsageError(
                f"{self.path}: SQL can't be imported, for it is a program that may do anything; "
                "psql -f or sqlite3 runs it, if you trust it"
            )
        if kind is None:
            name = "standard input" if self.path == STDIN else self.path
            raise UsageError(
                f"nothing says in which format {name} is: give --format csv, jsonl, json or parquet"
            )
        return kind
