"""How far one run may go: `--max-rows`, `--max-time`, `--max-errors`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import DataError, TemporaryError
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.state.checkpoints import Checkpoint


class BatchBound(TemporaryError):
    """A bound was reached; what is done is saved, and the same command goes on from there.

    Args:
        bound: As it was given: "--max-rows 1000".
        done: Rows this run has done.
    """

    code = "batch-bound"

    def __init__(self, bound: str, done: int) -> None:
        super().__init__(
            f"stopped after {counted(done, 'row')}: {bound}",
            why="what is done is saved, and there may be more to do",
            try_="run the same command again: it goes on from there",
        )
        self.done = done


class TurnEnded(Exception):
    """A worker's turn at a shard has ended; the next one goes on."""


class Bounds:
    """The bounds of one run, from now on, over all the shards it works at.

    Args:
        command: With the bounds.
        turn: Seconds after which the run lets go of its shard.
        errors: Rows left out in shards that are finished.
    """

    def __init__(
        self, command: BatchCommand, *, turn: float | None = None, errors: int = 0
    ) -> None:
        self._command, self._turn = command, turn
        self._started = monotonic()
        self._done: dict[str, int] = {}
        self._errors: dict[str, int] = {"": errors}

    @property
    def done(self) -> int:
        """Rows this run has done."""
        return sum(self._done.values())

    def count(self, mine: Checkpoint) -> None:
        """Learn how far the run has come with one batch."""
        self._done[mine.id] = mine.done_by_run
        self._errors[mine.id] = mine.errors

    def check(self, mine: Checkpoint, *, held: bool = False) -> None:
        """Stop the run if it has gone as far as it may.

        A turn has at least one batch, or it might come to nothing again and again.

        Args:
            mine: How far it has come with this batch.
            held: It waits, and does none.

        Raises:
            BatchBound: It has.
            TurnEnded: It has had its turn.
        """
        self.count(mine)
        limit, took = self._command.max_time, monotonic() - self._started
        if self._command.max_rows and self.done >= self._command.max_rows:
            raise BatchBound(f"--max-rows {self._command.max_rows}", self.done)
        if limit is not None and took >= limit.total_seconds():
            raise BatchBound(f"--max-time {limit.total_seconds():g}s", self.done)
        if self._turn is not None and took >= self._turn and (self.done or held):
            raise TurnEnded

    def at_most(self, size: int) -> int:
        """Return the size of a batch that does not go beyond `--max-rows`."""
        return min(size, self._command.max_rows - self.done) if self._command.max_rows else size

    def check_errors(self, more: int) -> None:
        """Stop the run if more rows failed than it may leave out.

        Args:
            more: Those of the batch in work.

        Raises:
            DataError: The batch with the last of them is rolled back.
        """
        errors = sum(self._errors.values()) + more
        if errors > self._command.max_errors:
            raise DataError(
                f"{counted(errors, 'row')} failed, "
                f"and --max-errors allows {self._command.max_errors}",
                why=f"those before are in {self._command.rejects}; the last batch was rolled back",
                try_="mend what they have in common, and run the same command again",
                code="too-many-errors",
            )
