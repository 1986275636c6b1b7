"""How much of the time a run is at work: between two batches it rests."""

from __future__ import annotations

from time import monotonic

from oneoff.batch import ALWAYS


class Pace:
    """The rests of one run, over all its shards and parts: the next batch may be another one's.

    Attributes:
        percent: Of the time at work, as the batch that was done last has it.
    """

    def __init__(self) -> None:
        self.percent: float = ALWAYS
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds left of the rest; not more than 0 when it is over."""
        return self._until - monotonic()

    def took(self, seconds: float, percent: float) -> None:
        """Begin the rest after a batch that was done.

        Args:
            seconds: How long the batch took.
            percent: Of the time that its command may be at work.
        """
        self.percent = percent
        self._until = monotonic() + seconds * (ALWAYS / percent - 1)
