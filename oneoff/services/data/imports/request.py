"""What an operator asks of `data import`, and what came of it. Loads nothing of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.services.data.files import STDOUT, format_of

if TYPE_CHECKING:
    from oneoff.services.data.files import Format

OnConflict = Literal["error", "skip", "update"]
STDIN = STDOUT
RESUMABLE = ("csv", "jsonl")
"""Formats in which a row ends with its line."""


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
        resume: Whether it is imported in batches, and goes on where one was stopped.
        batch_size: Rows of a batch; 0 for the usual number.
        new_run: Whether it begins again, though it could go on.
    """

    table: str
    path: str
    kind: Format | None = None
    on_conflict: OnConflict = "error"
    key: Sequence[str] = ()
    columns: Sequence[str] = ()
    rejects: str = ""
    resume: bool = False
    batch_size: int = 0
    new_run: bool = False

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

    def check(self) -> None:
        """Refuse options that don't go together.

        Raises:
            UsageError: All that is wrong with them.
        """
        kind, problems = self.format, []
        if self.resume and self.path == STDIN:
            problems.append("--resume needs a file: standard input is gone when it is stopped")
        if self.resume and kind not in RESUMABLE:
            problems.append(f"--resume goes line by line, which {kind} doesn't: export it as jsonl")
        if self.resume and self.rejects:
            problems.append("--rejects needs all rows in one transaction: leave --resume out")
        if self.rejects == STDOUT:
            problems.append("--rejects needs the name of a file: another is written beside it")
        if self.batch_size < 0:
            problems.append(f"--batch-size {self.batch_size} is less than 1")
        if not self.resume:
            given = {"--batch-size": self.batch_size, "--new-run": self.new_run}
            problems += [f"{name} has no meaning without --resume" for name in given if given[name]]
        if problems:
            raise UsageError(problems)


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
