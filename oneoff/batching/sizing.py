"""How many rows the next batch has."""

from __future__ import annotations

GROWTH = 1.2
"""The most a batch may grow by: one that was quick by luck must not lead to one that hangs."""
LEAST_PART = 10
"""The part of the first size below which slowness alone makes no batch, unless it is said: what
takes long then is not the number of its rows."""
SLACK = 1 / 3
"""How far a batch may be off its aim before the next one is resized."""


class Sizing:
    """Adapts the size of batches to the time they take.

    Args:
        size: Rows of the first batch.
        aim: Seconds a batch should take.
        largest: Rows it never exceeds.
        smallest: Rows below which slowness alone makes no batch; 0 for a tenth of the first.

    Attributes:
        size: Rows of the next batch.
    """

    def __init__(self, size: int, *, aim: float, largest: int, smallest: int = 0) -> None:
        self.size = max(1, min(size, largest))
        self._aim, self._largest = aim, largest
        self._smallest = smallest or max(1, self.size // LEAST_PART)

    def took(self, seconds: float, rows: int) -> None:
        """Learn from a batch that was done; a short one at the end teaches nothing."""
        if rows < self.size:
            return
        factor = self._aim / max(seconds, 0.001)
        if abs(seconds - self._aim) > self._aim * SLACK:
            wanted = round(self.size * min(GROWTH, max(0.5, factor)))
            if factor > 1:
                wanted = max(wanted, self.size + 1)  # 1.2 times one or two is still one or two
            floor = min(self._smallest, self.size)  # conflicts may have led below it
            self.size = max(floor, min(wanted, self._largest))

    def halve(self) -> None:
        """Take half as many after a timeout or a conflict."""
        self.size = max(1, self.size // 2)
