"""How far one run may go: `--max-rows`, `--max-time`, `--max-errors`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from oneoff.errors import DataError, TemporaryError

if TYPE_CHECKING:
    from oneoff.batch import BatchCommand


class BatchBound(TemporaryError):
    """A bound was reached; what is done is saved, and the same command goes on from there."""

    code = "batch-bound"


class Bounds:
    """The bounds of one run, from now on."""

    def __init__(self, command: BatchCommand) -> None:
        self._command = command
        self._started = monotonic()

    def check(self, done: int) -> None:
        """Stop the run if it has gone as far as it may.

        Args:
            done: Rows this run has done.

        Raises:
            BatchBound: It has.
        """
        limit = self._command.max_time
        if self._command.max_rows and done >= self._command.max_rows:
            raise _reached(f"--max-rows {self._command.max_rows}", done)
        if limit is not None and monotonic() - self._started >= limit.total_seconds():
            raise _reached(f"--max-time {limit.total_seconds():g}s", done)

    def at_most(self, size: int, done: int) -> int:
        """Return the size of a batch that does not go beyond `--max-rows`."""
        return min(size, self._command.max_rows - done) if self._command.max_rows else size

    def check_errors(self, errors: int) -> None:
        """Stop the run if more rows failed than it may leave out.

        Raises:
            DataError: The batch with the last of them is rolled back.
        """
        if errors > self._command.max_errors:
            raise DataError(
                f"{errors} rows failed, and --max-errors allows {self._command.max_errors}",
                why=f"those before are in {self._command.rejects}; the last batch was rolled back",
                try_="mend what they have in common, and run the same command again",
                code="too-many-errors",
            )


def _reached(bound: str, done: int) -> BatchBound:
    return BatchBound(
        f"stopped after {done:,} rows: {bound}",
        why="what is done is saved, and there may be more to do",
        try_="run the same command again: it goes on from there",
    )
