"""What holds the next batch: a rest, an operator who paused the run, or a probe that says stop."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError
from oneoff.database.errors import translate_error
from oneoff.services.batch.command import FULL_DUTY
from oneoff.services.batch.probes import BatchTime
from oneoff.services.batch.run.faults import Fault, fault_of
from oneoff.services.batch.state import checkpoints
from oneoff.services.batch.state.checkpoints import Checkpoint, State
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.command import BatchCommand, Throttle
    from oneoff.services.batch.run.bounds import Bounds
    from oneoff.services.batch.transactions import Transactions

POLL = 0.5
"""Seconds between two looks whether a run may go on."""
PROBE_EVERY = 0.5
"""Seconds for which a probe's answer counts while it says go: batches may be much shorter."""


class Pace:
    """The rests of one run, over all its shards and parts: the next batch may be another one's.

    Attributes:
        percent: Of the time at work, as the batch that was done last has it.
    """

    def __init__(self) -> None:
        self.percent: float = FULL_DUTY
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds left of the rest; not more than 0 when it is over."""
        return self._until - monotonic()

    def record(self, seconds: float, percent: float) -> None:
        """Begin the rest after a batch that was done.

        Args:
            seconds: How long the batch took.
            percent: Of the time that its command may be at work.
        """
        self.percent = percent
        self._until = monotonic() + seconds * (FULL_DUTY / percent - 1)


class BatchCancelled(CommandError):
    """An operator gave the batch up while this run worked at it."""

    code = "batch-cancelled"


class Hold:
    """Asks between batches whether the next one may begin."""

    def __init__(
        self, command: BatchCommand, transactions: Transactions, terminal: Terminal, pace: Pace
    ) -> None:
        self._probes = list(command.probes())
        self._transactions, self._terminal = transactions, terminal
        self._probed = 0.0
        self._pace, self._percent = pace, command.percent_at_work
        self._timeout = command.batch_timeout

    def record(self, seconds: float) -> None:
        """Learn how long a batch took that was done."""
        self._pace.record(seconds, self._percent)
        for probe in self._probes:
            if isinstance(probe, BatchTime):
                probe.record(seconds)

    async def while_asked(self, mine: Checkpoint, bounds: Bounds) -> Checkpoint:
        """Wait until nothing holds the batch, and return its checkpoint as it is then.

        Raises:
            BatchCancelled: An operator gave it up.
            BatchBound: The run may not take longer.
            BatchTakenOver: Another run has it.
        """
        mine = await self._rest(mine, bounds)
        said = ""
        while reason := await self._reason(mine):
            if mine.requested == "cancel":
                await self._write(replace(mine, state=State.CANCELLED), "cancelled by an operator")
                raise _cancelled(mine)
            if _without_numbers(reason) != _without_numbers(said):
                self._terminal.err(f"{reason}\n")
            said = reason
            state = State.PAUSED if mine.requested else State.RUNNING
            mine = await self._write(replace(mine, state=state), reason)
            bounds.check(mine, held=True)
            await asyncio.sleep(POLL)
        return mine

    async def _rest(self, mine: Checkpoint, bounds: Bounds) -> Checkpoint:
        """Leave the database to others for a while, in proportion to the last batch."""
        while not mine.requested and (left := self._pace.left) > 0:
            await asyncio.sleep(min(left, POLL))
            if left > POLL:
                note = f"resting: {self._pace.percent:g} % of the time at work"
                mine = await self._write(mine, note)
                bounds.check(mine, held=True)
        return mine

    async def _reason(self, mine: Checkpoint) -> str:
        if mine.requested == "cancel":
            return "cancelled"
        if mine.requested:
            whole = mine.parent or mine.id
            return f"paused: python manage.py batch resume {whole} lets it go on"
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
                raise  # the connection is what failed: the run mends it, and asks again
            self._go_on_without(probe, exc)
            return None
        return reason

    def _go_on_without(self, probe: Throttle, exc: Exception) -> None:
        """Warn once: what can't be asked must neither end the run nor look like a go."""
        name = getattr(probe, "name", type(probe).__name__)
        self._terminal.warn_once(f"the probe {name} holds nothing in this run: {_said(exc)}")
        self._probes = [one for one in self._probes if one is not probe]

    async def _write(self, new: Checkpoint, note: str) -> Checkpoint:
        async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
            return await checkpoints.write(connection, new, note=note)


def _without_numbers(reason: str) -> str:
    """Return what stays the same while a lag grows: a line twice a second would drown the log."""
    return re.sub(r"[0-9.]+", "", reason)


def _said(exc: Exception) -> str:
    error = translate_error(exc)
    return error.message if error else str(exc) or type(exc).__name__


def _cancelled(mine: Checkpoint) -> BatchCancelled:
    return BatchCancelled(
        f"an operator has given the batch {mine.id} up",
        why=f"what this run changed stays ({counted(mine.run_rows, 'row')}); "
        "the next run begins a new batch",
        try_=f"python manage.py batch show {mine.id}",
    )
