"""How many rows the next batch has."""

from __future__ import annotations

GROWTH = 1.2
"""What a batch grows by that would still be within its aim then: not more, for one that was quick
by luck must not lead to one that hangs."""
MIN_DIVISOR = 10
"""The part of the first size below which slowness alone makes no batch, unless it is said: what
takes long then is not the number of its rows."""
SLACK = 1 / 3
"""The part of the aim by which a batch may be late before the next one is made smaller."""


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
        self._smallest = smallest or max(1, self.size // MIN_DIVISOR)

    def record(self, seconds: float, rows: int) -> None:
        """Learn from a batch that was done; a short one at the end teaches nothing."""
        if rows < self.size:
            return
        factor = self._aim / max(seconds, 0.001)
        if factor >= GROWTH:
            # 1.2 times one or two is still one or two.
            self.size = min(max(round(self.size * GROWTH), self.size + 1), self._largest)
        elif seconds > self._aim * (1 + SLACK):
            floor = min(self._smallest, self.size)  # conflicts may have led below it
            self.size = max(floor, round(self.size * max(0.5, factor)))

    def halve(self) -> None:
        """Take half as many after a timeout or a conflict."""
        self.size = max(1, self.size // 2)
