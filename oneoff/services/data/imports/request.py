"""Check the arguments and options of `data import`. Imports no database library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.services.data.files import STDOUT, format_of

if TYPE_CHECKING:
    from oneoff.services.data.files import Format

OnConflict = Literal["error", "skip", "update"]
STDIN = STDOUT  # an operator types - for both
RESUMABLE = ("csv", "jsonl")
"""Formats in which a row ends at a line end."""


class ImportRequest(NamedTuple):
    """The arguments and options of `data import`.

    Attributes:
        table: The table's name.
        path: The file's path; "-" for standard input.
        chosen_format: None to derive the format from the file's name.
        on_conflict: What happens to an existing row.
        key: The columns that identify an existing row; empty for the primary key.
        columns: The file's columns to import; empty for all.
        rejects: The file for bad rows; empty to import nothing if a row is bad.
        resume: Whether to import in batches, and continue after the last batch of a stopped run.
        batch_size: Rows in a batch; 0 for the default.
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
        """The format in which the file is read.

        Raises:
            UsageError: The format is unknown, or it is SQL.
        """
        file_format = self.chosen_format or format_of(self.path)
        if file_format == "sql":
            raise UsageError(
                f"{self.path}: SQL can't be imported, because it may contain any statement; "
                "if you trust it, run it with psql -f or sqlite3"
            )
        if file_format is None:
            name = "standard input" if self.path == STDIN else self.path
            raise UsageError(
                f"the format of {name} is unknown: give --format csv, jsonl, json or parquet"
            )
        return file_format

    def check(self) -> None:
        """Refuse options that can't be combined.

        Raises:
            UsageError: Some options can't be combined; the error lists all problems.
        """
        file_format, problems = self.format, []
        if self.resume and self.path == STDIN:
            problems.append("--resume needs a file: standard input can't be read again")
        if self.resume and file_format not in RESUMABLE:
            problems.append(
                f"--resume reads csv or jsonl, not {file_format}: export the rows as jsonl"
            )
        if self.resume and self.rejects:
            problems.append("--rejects needs all rows in one transaction: omit --resume")
        if self.rejects == STDOUT:
            problems.append("--rejects needs a file name: a second file is written beside it")
        if self.batch_size < 0:
            problems.append(f"--batch-size {self.batch_size} is less than 1")
        if not self.resume:
            given = {"--batch-size": self.batch_size, "--new-run": self.new_run}
            problems += [f"{name} needs --resume" for name in given if given[name]]
        if problems:
            raise UsageError(problems)
