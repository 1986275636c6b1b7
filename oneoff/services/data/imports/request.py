"""The arguments and options of `data import`, checked together. Loads nothing of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.services.data.files import STDOUT, format_of

if TYPE_CHECKING:
    from oneoff.services.data.files import Format

OnConflict = Literal["error", "skip", "update"]
STDIN = STDOUT  # an operator writes - for both
RESUMABLE = ("csv", "jsonl")
"""Formats in which a row ends with its line."""


class ImportRequest(NamedTuple):
    """The arguments and options of `data import`, by their names.

    Attributes:
        table: Name of the table.
        path: Of the file; "-" for standard input.
        chosen_format: None for the format that the file's name says.
        on_conflict: What happens to an existing row.
        key: Columns that identify it; none for the primary key.
        columns: The file's columns to import; none for all.
        rejects: File for bad rows; empty to import nothing if there are any.
        resume: Whether to import in batches, from where an earlier run was stopped.
        batch_size: Rows of a batch; 0 for the default.
        new_run: Whether to start again, even if a run could be resumed.
    """

    table: str
    path: str
    chosen_format: Format | None = None
    on_conflict: OnConflict = "error"
    key: Sequence[str] = ()
    columns: Sequence[str] = ()
    rejects: str = ""
    resume: bool = False
    batch_size: int = 0
    new_run: bool = False

    @property
    def format(self) -> Format:
        """The format the file is read in.

        Raises:
            UsageError: Neither the options nor the file's name say which.
        """
        file_format = self.chosen_format or format_of(self.path)
        if file_format == "sql":
            raise UsageError(
                f"{self.path}: SQL can't be imported, for it is a program that may do anything; "
                "psql -f or sqlite3 runs it, if you trust it"
            )
        if file_format is None:
            name = "standard input" if self.path == STDIN else self.path
            raise UsageError(
                f"nothing says in which format {name} is: give --format csv, jsonl, json or parquet"
            )
        return file_format

    def check(self) -> None:
        """Refuse options that can't be combined.

        Raises:
            UsageError: Names all of them.
        """
        file_format, problems = self.format, []
        if self.resume and self.path == STDIN:
            problems.append("--resume needs a file: standard input is gone when it is stopped")
        if self.resume and file_format not in RESUMABLE:
            problems.append(
                f"--resume goes line by line, which {file_format} doesn't: export it as jsonl"
            )
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
