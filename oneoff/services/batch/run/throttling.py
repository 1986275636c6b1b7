"""Limit the load of a run: adapt the size of its batches, and wait between two of them.

A run pauses in proportion to `--duty`. It waits while an operator has paused it, and while a probe
of its command returns a reason to wait.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError
from oneoff.database.errors import translate_error
from oneoff.services.batch.probes import BatchTime, ProbeTableNotFound
from oneoff.services.batch.run.faults import Fault, fault_of
from oneoff.services.batch.state import checkpoints
from oneoff.services.batch.state.checkpoints import Checkpoint, State
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.services.batch.command import BatchCommand, Throttle
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.transactions import Transactions

POLL = 0.5  # seconds between two checks whether the batch may continue
PROBE_EVERY = 0.5
"""Seconds for which "no reason to wait" is not asked again; batches may be much shorter."""
GROWTH = 1.2
"""Factor by which the size grows, if a batch of the larger size would still have met its aim."""
# A small factor: after a batch that was fast by chance, the next one must not lock rows for long.
MIN_DIVISOR = 10
"""The default of the smallest size after slow batches is the first size divided by this."""
# Below that size, the number of rows is not what makes a batch slow.
SLACK = 1 / 3
"""The part of the aim by which a batch may exceed the aim before the size is reduced."""


class BatchCancelled(CommandError):
    """An operator cancelled the batch while this run worked on it."""

    code = "batch-cancelled"


class Sizing:
    """Adapts the size of batches to the time they take.

    Args:
        size: Rows of the first batch.
        aim: Seconds that a batch should take.
        largest: The most rows of a batch.
        smallest: The fewest rows that slow batches lead to; 0 for a tenth of the first size.

    Attributes:
        size: Rows of the next batch.
    """

    def __init__(self, size: int, *, aim: float, largest: int, smallest: int = 0) -> None:
        self.size = max(1, min(size, largest))
        self._aim, self._largest = aim, largest
        self._smallest = smallest or max(1, self.size // MIN_DIVISOR)

    def record(self, seconds: float, rows: int) -> None:
        """Adapt the size to the duration of a batch."""
        if rows < self.size:  # the last batch has fewer rows, so its duration does not fit the size
            return
        factor = self._aim / max(seconds, 0.001)
        if factor >= GROWTH:
            # At least one row more: 1.2 times one or two rounds to one or two.
            self.size = min(max(round(self.size * GROWTH), self.size + 1), self._largest)
        elif seconds > self._aim * (1 + SLACK):
            floor = min(self._smallest, self.size)  # `halve` may have gone below it
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
        """Record the duration of a batch, and start the pause after it."""
        self._duty_cycle.start_pause(seconds, self._percent)
        for probe in self._probes:
            if isinstance(probe, BatchTime):
                probe.record(seconds)

    async def wait(self, checkpoint: Checkpoint) -> Checkpoint:
        """Wait until the next batch may start, and return the current checkpoint.

        While it waits, it stores the reason in the row of the batch twice a second. This shows the
        reason to other terminals, and reads the request of an operator.

        Raises:
            BatchCancelled: An operator cancelled the batch.
            BatchBound: The run has reached a bound.
            BatchTakenOver: Another run has claimed the batch.
        """
        checkpoint = await self._pause_for_duty(checkpoint)
        shown = ""
        while reason := await self._reason(checkpoint):
            if checkpoint.requested == "cancel":
                await self._write(
                    replace(checkpoint, state=State.CANCELLED), "cancelled by an operator"
                )
                raise BatchCancelled(
                    f"an operator has cancelled the batch {checkpoint.id}",
                    why=f"committed rows are kept ({counted(checkpoint.run_rows, 'row')} by this "
                    "run); the next run starts a new batch",
                    try_=f"python manage.py batch show {checkpoint.id}",
                )
            if _without_numbers(reason) != _without_numbers(shown):
                self._terminal.err(f"{reason}\n")
            shown = reason
            state = State.PAUSED if checkpoint.requested else State.RUNNING
            # `_write` returns the current request, so the next round sees a resume or a cancel.
            checkpoint = await self._write(replace(checkpoint, state=state), reason)
            self._bounds.check(checkpoint, held=True)
            await asyncio.sleep(POLL)
        return checkpoint

    async def _pause_for_duty(self, checkpoint: Checkpoint) -> Checkpoint:
        """Pause in proportion to the duration of the last batch."""
        while not checkpoint.requested and (left := self._duty_cycle.pause_left) > 0:
            await asyncio.sleep(min(left, POLL))
            if left > POLL:
                note = f"pause between batches: the duty is {self._duty_cycle.percent:g} %"
                checkpoint = await self._write(checkpoint, note)
                self._bounds.check(checkpoint, held=True)
        return checkpoint

    async def _reason(self, checkpoint: Checkpoint) -> str:
        """Return why the next batch has to wait; empty if it may start."""
        if checkpoint.requested == "cancel":
            return "cancelled"
        if checkpoint.requested:
            batch = checkpoint.parent or checkpoint.id
            return f"paused: to continue, run: python manage.py batch resume {batch}"
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
                await connection.rollback()  # so that the commit of `begin` keeps nothing of it
        except Exception as exc:
            if fault_of(exc) is not Fault.FATAL:
                raise  # the connection failed, not the probe: the run reconnects and asks again
            if isinstance(exc, ProbeTableNotFound):
                raise  # a mistake in the command, which would otherwise be found too late
            # A probe that fails must not end the run. It is removed with a warning: otherwise it
            # would look like a probe that has no reason to wait.
            error = translate_error(exc)
            message = error.message if error else str(exc) or type(exc).__name__
            name = getattr(probe, "name", type(probe).__name__)
            self._terminal.warn_once(f"the probe {name} is not used in this run: {message}")
            self._probes = [one for one in self._probes if one is not probe]
            return None
        return reason

    async def _write(self, new: Checkpoint, note: str) -> Checkpoint:
        async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
            return await checkpoints.write(connection, new, note=note)


def _without_numbers(reason: str) -> str:
    """Return a reason without its numbers, to compare two reasons."""
    # The numbers change while a lag grows: a line twice a second would flood the log.
    return re.sub(r"[0-9.]+", "", reason)
