"""Run the shards of a batch in one process: all of them in parallel, or only one."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError
from oneoff.core.result import Result
from oneoff.services.batch.command import FULL_DUTY
from oneoff.services.batch.rows.selection import Selection, make_selection
from oneoff.services.batch.run.bounds import BatchBound
from oneoff.services.batch.run.loop import STOP_TIMEOUT, BatchRun, note_of
from oneoff.services.batch.run.rejects import rejects_warning
from oneoff.services.batch.run.throttling import BatchCancelled
from oneoff.services.batch.state import checkpoints, shards
from oneoff.services.batch.state.checkpoints import ENDED, BatchTakenOver, Checkpoint, State
from oneoff.services.batch.state.claims import claim_with_retry
from oneoff.services.batch.state.queries import Shard, read_shards
from oneoff.services.batch.transactions import Transactions
from oneoff.utils.concurrency import together, uninterrupted
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.state.identity import Identity

AT_ONCE = 4
"""Shards that one process runs in parallel, each with its own connection. With more, the process
itself would be the bottleneck."""


class ShardRun(BatchRun):
    """One run of one shard.

    Args:
        command: The command.
        shard: The shard with its range.
        identity: Identity of the parent batch.
        context: The objects that the batches of the run share.
        alone: Whether it is the run's only shard, so that its progress is shown to the operator.
    """

    def __init__(
        self,
        command: BatchCommand,
        shard: Shard,
        identity: Identity,
        context: RunContext,
        *,
        alone: bool,
    ) -> None:
        super().__init__(make_selection(command, shard.limits), identity, context)
        self._shard_id, self._alone = shard.id, alone

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        return await shards.claim_shard(connection, self._database, self._shard_id)

    def _say_claimed(self, checkpoint: Checkpoint) -> None:
        if self._alone and checkpoint.state not in ENDED:
            super()._say_claimed(checkpoint)

    def _say_estimate(self, left: int) -> None:
        if self._alone:
            super()._say_estimate(left)

    def _say_stopped(self) -> None:
        if self._alone:
            super()._say_stopped()


async def run_shard(
    command: BatchCommand,
    shard: Shard,
    identity: Identity,
    context: RunContext,
    *,
    alone: bool = True,
) -> Result:
    """Run one shard, and close the parent batch if all shards have ended."""
    try:
        return await ShardRun(command, shard, identity, context, alone=alone).run()
    finally:
        await uninterrupted(_close_parent(shard, context.database))


async def _close_parent(shard: Shard, database: Database) -> None:
    # If this fails, the parent stays open. The next run finds nothing to do, and closes it.
    with suppress(SQLAlchemyError, OSError, CommandError):
        async with (
            Transactions(database) as transactions,
            asyncio.timeout(STOP_TIMEOUT),
            transactions.begin() as connection,
        ):
            await shards.close_parent(connection, shard.parent, database.run_id)


class ShardedRun:
    """One run of a batch that is divided into shards.

    Args:
        selection: The command with its rows.
        identity: Identity of the batch.
        context: The objects that the shards of the run share.
    """

    def __init__(self, selection: Selection, identity: Identity, context: RunContext) -> None:
        self._command = selection.command
        self._selection, self._identity = selection, identity
        self._context, self._database = context, context.database
        self._transactions = Transactions(context.database)
        self._bound: BatchBound | None = None
        self._parent: Checkpoint

    async def run(self) -> Result:
        """Claim the parent batch, and run its shards until all end or a bound is reached."""
        async with self._transactions:
            self._parent = await claim_with_retry(self._transactions, self._claim)
            found = await self._read()
            self._say_claimed(found)
            try:
                await self._work([shard for shard in found if not shard.ended])
            except BaseException as exc:
                await uninterrupted(self._stop(exc))
                raise
            found = await self._read()
            async with self._transactions.begin() as connection:
                rows = await shards.rows_by_run(connection, self._parent.id, self._database.run_id)
            return result_of(self._parent.id, found, rows)

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        parent = await shards.claim_parent(
            connection, self._database, self._identity, self._selection
        )
        self._context.rejects.check_place(parent.id, self._database.run_id)
        return parent

    async def _work(self, unfinished: list[Shard]) -> None:
        queue = deque(unfinished)
        await together(self._take_from(queue) for _ in range(self._at_once()))
        if self._bound is not None:
            raise self._bound
        async with self._transactions.begin() as connection:
            ended = await shards.close_parent(connection, self._parent.id, self._database.run_id)
        if ended is State.CANCELLED:
            raise shards_cancelled(self._parent.id)

    def _at_once(self) -> int:
        # One at a time in three cases. If a bound counts rows: batches in parallel would exceed it.
        # If the run pauses for `--duty`: no other shard may work then. On SQLite: it has one writer
        # at a time.
        counts = self._command.max_rows or self._command.max_errors
        pauses = self._command.percent_at_work < FULL_DUTY
        return 1 if counts or pauses or self._database.url.dialect == "sqlite" else AT_ONCE

    async def _take_from(self, queue: deque[Shard]) -> None:
        """Run one shard after the other, until one reaches a bound.

        Shards that run in parallel are not cancelled: each stops at the same bound, after its
        current batch is saved.
        """
        while queue and self._bound is None:
            shard = queue.popleft()
            # A copy: attributes that the author's code sets on `self` must not be shared by shards.
            command = copy.copy(self._command)
            try:
                await ShardRun(command, shard, self._identity, self._context, alone=False).run()
            except BatchBound as exc:
                self._bound = exc
            except BatchCancelled:
                continue  # the others continue; `close_parent` reports that a shard was cancelled

    async def _read(self) -> list[Shard]:
        async with self._transactions.begin() as connection:
            return await read_shards(connection, self._parent.id)

    def _say_claimed(self, found: list[Shard]) -> None:
        done = sum(shard.rows_done for shard in found)
        ended = sum(shard.ended for shard in found)
        if done or ended:
            self._context.terminal.err(
                f"resuming {self._parent.id}: {ended} of {counted(len(found), 'shard')} finished, "
                f"{counted(done, 'row')} done\n"
            )
        self._context.progress.start(max((self._parent.total or 0) - done, 0))

    async def _stop(self, exc: BaseException) -> None:
        """Store that the run ended before the batch did, and inform the operator."""
        if isinstance(exc, BatchTakenOver):
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._write_stopped(exc)
        except (SQLAlchemyError, OSError, CommandError):
            # The row keeps the state `running`, but its run has ended, so the next run resumes it.
            return

    async def _write_stopped(self, exc: BaseException) -> None:
        note = note_of(exc)
        async with self._transactions.begin() as connection:
            rows = await shards.rows_by_run(connection, self._parent.id, self._database.run_id)
            if not await shards.close_parent(connection, self._parent.id, self._database.run_id):
                stopped = replace(self._parent, state=State.STOPPED)
                await checkpoints.write(connection, stopped, note=note)
        self._context.progress.close()
        self._context.terminal.err(
            f"saved: {counted(rows, 'row')} changed by this run; "
            "the same command continues from there\n"
        )


def shards_cancelled(parent_id: str) -> BatchCancelled:
    """Return the error for a batch with cancelled shards."""
    return BatchCancelled(
        f"an operator has cancelled the batch {parent_id}, or shards of it",
        why="committed rows are kept; the next run starts a new batch",
        try_=f"python manage.py batch show {parent_id}",
    )


def result_of(parent_id: str, found: list[Shard], rows: int) -> Result:
    """Return the result of a run over shards.

    Args:
        parent_id: Id of the parent batch.
        found: Its shards at the end of the run.
        rows: Rows that were changed during the run.
    """
    changed = sum(shard.rows_changed for shard in found)
    errors = sum(shard.errors for shard in found)
    data: dict[str, Any] = {
        "batch": parent_id,
        "rows_done": sum(shard.rows_done for shard in found),
        "rows_changed": changed,
        "errors": errors,
        "shards": len(found),
    }
    warnings = [rejects_warning(errors)] if errors else []
    if not rows:
        return Result.unchanged("nothing to do", data=data, warnings=warnings)
    also = f", {changed:,} including earlier runs" if changed > rows else ""
    return Result.changed(
        f"changed {counted(rows, 'row')} in {counted(len(found), 'shard')}{also}",
        rows=rows,
        data=data,
        warnings=warnings,
    )
