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
"""Seconds a worker works on a shard before other jobs of the project get their turn."""


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
    """A worker has had its `TURN` with a shard; another job resumes it."""


class Bounds:
    """The bounds of one run, counted from now on, over all the shards it works on.

    Args:
        command: With the bounds.
        worker: Whether a worker runs it, which stops after its `TURN`.
    """

    def __init__(self, command: BatchCommand, *, worker: bool = False) -> None:
        self._command = command
        self._turn = TURN if worker else None
        self._started = monotonic()
        self._done: dict[str, int] = {}
        self._errors: dict[str, int] = {}

    @property
    def done(self) -> int:
        """Rows this run has done."""
        return sum(self._done.values())

    def count(self, checkpoint: Checkpoint) -> None:
        """Take note of how far the run has come with one batch or shard."""
        self._done[checkpoint.id] = checkpoint.done_by_run
        self._errors[checkpoint.id] = checkpoint.errors

    def check(self, checkpoint: Checkpoint, *, held: bool = False) -> None:
        """Stop the run if it has reached a bound.

        A turn lasts at least one batch. Otherwise a shard whose claim alone takes that long would
        be handed on for ever without progress.

        Args:
            checkpoint: How far it has come with this batch.
            held: Whether it is held between two batches, so that no further one may come first.

        Raises:
            BatchBound: It has reached a bound.
            TurnEnded: It has had its turn.
        """
        self.count(checkpoint)
        limit, elapsed = self._command.max_time, monotonic() - self._started
        if self._command.max_rows and self.done >= self._command.max_rows:
            raise BatchBound(f"--max-rows {self._command.max_rows}", self.done)
        if limit is not None and elapsed >= limit.total_seconds():
            raise BatchBound(f"--max-time {limit.total_seconds():g}s", self.done)
        if self._turn is not None and elapsed >= self._turn and (self.done or held):
            raise TurnEnded

    def at_most(self, size: int) -> int:
        """Return the size of a batch, lowered to what `--max-rows` leaves."""
        return min(size, self._command.max_rows - self.done) if self._command.max_rows else size

    def check_errors(self, more: int) -> None:
        """Stop the run if more rows failed than `--max-errors` allows.

        Args:
            more: Rows that failed in the batch in work, which is not saved yet.

        Raises:
            DataError: `too-many-errors`; the caller rolls the batch back.
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


class DutyCycle:
    """The rests of one run, over all its shards and parts: the next batch may be another one's.

    Attributes:
        percent: Of the time at work, for the command of the last batch.
    """

    def __init__(self) -> None:
        self.percent: float = FULL_DUTY
        self._until = 0.0

    @property
    def rest_left(self) -> float:
        """Seconds until the rest is over; 0 or less once it is."""
        return self._until - monotonic()

    def begin_rest(self, seconds: float, percent: float) -> None:
        """Begin the rest after a batch.

        Args:
            seconds: How long the batch took.
            percent: Of the time that its command may be at work.
        """
        self.percent = percent
        self._until = monotonic() + seconds * (FULL_DUTY / percent - 1)
