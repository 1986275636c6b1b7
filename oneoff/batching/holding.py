"""What holds the next batch: an operator who paused the run, or a probe that says stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from oneoff.batching import checkpoints
from oneoff.batching.checkpoints import Checkpoint, State
from oneoff.errors import CommandError

if TYPE_CHECKING:
    from oneoff.batch import BatchCommand, Throttle
    from oneoff.batching.bounds import Bounds
    from oneoff.batching.transactions import Transactions
    from oneoff.terminal import Terminal

POLL = 0.5
"""Seconds between two looks whether a run may go on."""
PROBE_EVERY = 0.5
"""Seconds for which a probe's answer counts while it says go: batches may be much shorter."""


class BatchCancelled(CommandError):
    """An operator gave the batch up while this run worked at it."""

    code = "batch-cancelled"


class Hold:
    """Asks between batches whether the next one may begin."""

    def __init__(
        self, command: BatchCommand, transactions: Transactions, terminal: Terminal
    ) -> None:
        self._probes = list(command.probes())
        self._transactions, self._terminal = transactions, terminal
        self._probed = 0.0
        self._timeout = command.batch_timeout

    async def while_asked(self, mine: Checkpoint, bounds: Bounds) -> Checkpoint:
        """Wait until nothing holds the batch, and return its checkpoint as it is then.

        Raises:
            BatchCancelled: An operator gave it up.
            BatchBound: The run may not take longer.
            BatchTakenOver: Another run has it.
        """
        said = ""
        while reason := await self._reason(mine):
            if mine.requested == "cancel":
                await self._write(replace(mine, state=State.CANCELLED), "cancelled by an operator")
                raise _cancelled(mine)
            if reason != said:
                self._terminal.err(f"{reason}\n")
            said = reason
            state = State.PAUSED if mine.requested else State.RUNNING
            mine = await self._write(replace(mine, state=state), reason)
            bounds.check(mine)
            await asyncio.sleep(POLL)
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
        async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
            reason = await probe.reason(connection)
            await connection.rollback()
        return reason

    async def _write(self, new: Checkpoint, note: str) -> Checkpoint:
        async with asyncio.timeout(self._timeout), self._transactions.begin() as connection:
            return await checkpoints.write(connection, new, note=note)


def _cancelled(mine: Checkpoint) -> BatchCancelled:
    return BatchCancelled(
        f"an operator has given the batch {mine.id} up",
        why=f"the {mine.run_rows:,} rows this run changed stay; the next run begins a new batch",
        try_=f"python manage.py batch show {mine.id}",
    )
