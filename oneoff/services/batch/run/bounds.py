"""Bound a run: `--max-rows`, `--max-time`, `--max-errors`, the turn of a worker, and `--duty`."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import DataError, TemporaryError
from oneoff.services.batch.command import FULL_DUTY
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.state.checkpoints import Checkpoint

TURN = 180.0
"""Seconds for which a worker works on a shard before it takes other jobs of the project."""


class BatchBound(TemporaryError):
    """The run reached a bound; committed rows are kept, and the same command continues after them.

    Args:
        bound: The option with its value: "--max-rows 1000".
        done: Rows processed by this run.
    """

    code = "batch-bound"

    def __init__(self, bound: str, done: int) -> None:
        super().__init__(
            f"stopped after {counted(done, 'row')}: {bound}",
            why="the progress is saved, and there may be more rows to process",
            try_="run the same command again: it continues after the last saved row",
        )
        self.done = done


class TurnEnded(Exception):
    """A worker's `TURN` with a shard is over; another job resumes the shard."""


class Bounds:
    """The bounds of one run, counted from now on, over all shards that it works on.

    Args:
        command: The command with the bounds.
        worker: Whether a worker runs it; a worker stops after its `TURN`.
    """

    def __init__(self, command: BatchCommand, *, worker: bool = False) -> None:
        self._command = command
        self._turn = TURN if worker else None
        self._started = monotonic()
        self._done: dict[str, int] = {}
        self._errors: dict[str, int] = {}

    @property
    def done(self) -> int:
        """Rows processed by this run."""
        return sum(self._done.values())

    def count(self, checkpoint: Checkpoint) -> None:
        """Record the progress of the run in one batch or shard."""
        self._done[checkpoint.id] = checkpoint.done_by_run
        self._errors[checkpoint.id] = checkpoint.errors

    def check(self, checkpoint: Checkpoint, *, held: bool = False) -> None:
        """Stop the run if it has reached a bound.

        A turn lasts at least one batch, unless the run waits between two batches.

        Args:
            checkpoint: The progress in this batch.
            held: Whether the run waits between two batches.

        Raises:
            BatchBound: The run has reached a bound.
            TurnEnded: The turn of the worker is over.
        """
        self.count(checkpoint)
        limit, elapsed = self._command.max_time, monotonic() - self._started
        if self._command.max_rows and self.done >= self._command.max_rows:
            raise BatchBound(f"--max-rows {self._command.max_rows}", self.done)
        if limit is not None and elapsed >= limit.total_seconds():
            raise BatchBound(f"--max-time {limit.total_seconds():g}s", self.done)
        # Without `self.done`, a shard whose claim alone takes longer than a turn would be passed
        # from job to job indefinitely without progress.
        if self._turn is not None and elapsed >= self._turn and (self.done or held):
            raise TurnEnded

    def at_most(self, size: int) -> int:
        """Return the size of a batch, at most the remaining rows of `--max-rows`."""
        return min(size, self._command.max_rows - self.done) if self._command.max_rows else size

    def check_errors(self, more: int) -> None:
        """Stop the run if more rows failed than `--max-errors` allows.

        Args:
            more: Rows that failed in the current batch, which is not saved yet.

        Raises:
            DataError: `too-many-errors`; the caller rolls the batch back.
        """
        errors = sum(self._errors.values()) + more
        if errors > self._command.max_errors:
            raise DataError(
                f"{counted(errors, 'row')} failed, "
                f"and --max-errors allows {self._command.max_errors}",
                why=f"the last batch was rolled back; rows that failed in earlier batches are in "
                f"{self._command.rejects}",
                try_="fix the cause, and run the same command again",
                code="too-many-errors",
            )


class DutyCycle:
    """The pauses of one run between batches.

    All shards and parts of the run share it, because the next batch may belong to another shard.

    Attributes:
        percent: Percentage of the time in which the command of the last batch works.
    """

    def __init__(self) -> None:
        self.percent: float = FULL_DUTY
        self._until = 0.0

    @property
    def pause_left(self) -> float:
        """Seconds until the pause is over; 0 or less afterwards."""
        return self._until - monotonic()

    def start_pause(self, seconds: float, percent: float) -> None:
        """Start the pause after a batch.

        Args:
            seconds: Duration of the batch.
            percent: Percentage of the time in which its command may work.
        """
        self.percent = percent
        self._until = monotonic() + seconds * (FULL_DUTY / percent - 1)
