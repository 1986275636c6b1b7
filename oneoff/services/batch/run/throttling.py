"""Limit the load of a run: adapt the size of its batches, and wait between two of them.

A run rests in proportion to `--duty`. It waits while an operator has paused it, and while a probe
of its command gives a reason to.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError
from oneoff.database.errors import translate_error
from oneoff.services.batch.probes import BatchTime
from oneoff.services.batch.run.faults import Fault, fault_of
from oneoff.services.batch.state import checkpoints
from oneoff.services.batch.state.checkpoints import Checkpoint, State
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.batch.command import BatchCommand, Throttle
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.transactions import Transactions

POLL = 0.5  # seconds between two looks whether a run may go on
PROBE_EVERY = 0.5
"""Seconds for which the answer of a probe holds while it says go: batches may be much shorter."""
GROWTH = 1.2
"""Factor by which a batch grows that would have stayed within its aim with so many rows. Not more:
a batch that was quick by luck must not lead to one that locks rows for long."""
MIN_DIVISOR = 10
"""The first size divided by this is the default of the smallest size that slowness leads to: what
takes long below it is not the number of rows."""
SLACK = 1 / 3
"""The part of the aim by which a batch may be late before the next one is made smaller."""


class BatchCancelled(CommandError):
    """An operator cancelled the batch while this run worked on it."""

    code = "batch-cancelled"


class Sizing:
    """Adapts the size of batches to the time they take.

    Args:
        size: Rows of the first batch.
        aim: Seconds a batch should take.
        largest: Rows it never exceeds.
        smallest: Rows below which slowness makes no batch; 0 for a tenth of the first.

    Attributes:
        size: Rows of the next batch.
    """

    def __init__(self, size: int, *, aim: float, largest: int, smallest: int = 0) -> None:
        self.size = max(1, min(size, largest))
        self._aim, self._largest = aim, largest
        self._smallest = smallest or max(1, self.size // MIN_DIVISOR)

    def record(self, seconds: float, rows: int) -> None:
        """Adapt to a batch that is done; a short one at the end says nothing about its size."""
        if rows < self.size:
            return
        factor = self._aim / max(seconds, 0.001)
        if factor >= GROWTH:
            # At least one row more: 1.2 times one or two is still one or two.
            self.size = min(max(round(self.size * GROWTH), self.size + 1), self._largest)
        elif seconds > self._aim * (1 + SLACK):
            floor = min(self._smallest, self.size)  # conflicts may have led below it
            self.size = max(floor, round(self.size * max(0.5, factor)))

    def halve(self) -> None:
        """Halve the size after a timeout or a conflict."""
        self.size = max(1, self.size // 2)


class Throttling:
    """Decides between two batches of a command when the next one may begin."""

    def __init__(
        self, command: BatchCommand, transactions: Transactions, context: RunContext
    ) -> None:
        self._probes = list(command.probes())
        self._probed = 0.0
        self._transactions, self._terminal = transactions, context.terminal
        self._bounds, self._duty_cycle = context.bounds, context.duty_cycle
        self._percent, self._timeout = command.percent_at_work, command.batch_timeout

    def record(self, seconds: float) -> None:
        """Take note of how long a batch took, and begin the rest after it."""
        self._duty_cycle.begin_rest(seconds, self._percent)
        for probe in self._probes:
            if isinstance(probe, BatchTime):
                probe.record(seconds)

    async def wait(self, checkpoint: Checkpoint) -> Checkpoint:
        """Wait until the next batch may begin, and return the checkpoint as it is then.

        While it waits it writes the reason into the row of the batch twice a second. That shows the
        reason to other terminals, and reads there what an operator requests.

        Raises:
            BatchCancelled: An operator cancelled it.
            BatchBound: The run may not take longer.
            BatchTakenOver: Another run has claimed the batch.
        """
        checkpoint = await self._rest(checkpoint)
        shown = ""
        while reason := await self._reason(checkpoint):
            if checkpoint.requested == "cancel":
                await self._write(
                    replace(checkpoint, state=State.CANCELLED), "cancelled by an operator"
                )
                raise BatchCancelled(
                    f"an operator has given the batch {checkpoint.id} up",
                    why=f"what this run changed stays ({counted(checkpoint.run_rows, 'row')}); "
                    "the next run begins a new batch",
                    try_=f"python manage.py batch show {checkpoint.id}",
                )
            if _without_numbers(reason) != _without_numbers(shown):
                self._terminal.err(f"{reason}\n")
            shown = reason
            state = State.PAUSED if checkpoint.requested else State.RUNNING
            checkpoint = await self._write(replace(checkpoint, state=state), reason)
            self._bounds.check(checkpoint, held=True)
            await asyncio.sleep(POLL)
        return checkpoint

    async def _rest(self, checkpoint: Checkpoint) -> Checkpoint:
        """Leave the database to others for a while, in proportion to the last batch."""
        while not checkpoint.requested and (left := self._duty_cycle.rest_left) > 0:
            await asyncio.sleep(min(left, POLL))
            if left > POLL:
                note = f"resting: {self._duty_cycle.percent:g} % of the time at work"
                checkpoint = await self._write(checkpoint, note)
                self._bounds.check(checkpoint, held=True)
        return checkpoint

    async def _reason(self, checkpoint: Checkpoint) -> str:
        """Return why the next batch has to wait; empty if it may begin."""
        if checkpoint.requested == "cancel":
            return "cancelled"
        if checkpoint.requested:
            batch = checkpoint.parent or checkpoint.id
            return f"paused: python manage.py batch resume {batch} lets it go on"
        if not self._probes or monotonic() - self._probed < PROBE_EVERY:
            return ""
        for probe in self._probes:
            if reason := await self._ask(probe):
                return f"throttled: {reason}"
        self._probed = monotonic()
        return ""

    async def _ask(self, probe: Throttle) -> str | None:
        try:
            async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
                reason = await probe.reason(connection)
                await connection.rollback()
        except Exception as exc:
            if fault_of(exc) is not Fault.FATAL:
                raise  # the connection failed, not the probe: the run reconnects and asks again
            # A probe that can't be asked must not end the run, and must not look as if it said go.
            error = translate_error(exc)
            message = error.message if error else str(exc) or type(exc).__name__
            name = getattr(probe, "name", type(probe).__name__)
            self._terminal.warn_once(f"the probe {name} holds nothing in this run: {message}")
            self._probes = [one for one in self._probes if one is not probe]
            return None
        return reason

    async def _write(self, new: Checkpoint, note: str) -> Checkpoint:
        async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
            return await checkpoints.write(connection, new, note=note)


def _without_numbers(reason: str) -> str:
    """Return what stays the same while a lag grows: a line twice a second would flood the log."""
    return re.sub(r"[0-9.]+", "", reason)
