"""The loop of a batch run. Read `BatchRun._loop` from top to bottom.

The order of the steps matters. The run checks its bounds and pauses between two batches, when no
transaction is open and no row is locked. Then one transaction processes the rows of a batch, writes
rejected rows to their file, and saves the checkpoint; nothing counts before its commit. The pause
of `--duty` follows the commit, when other transactions can use the rows.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError, Unavailable
from oneoff.core.result import Result
from oneoff.services.batch.rows.cursor import decode, readable
from oneoff.services.batch.rows.ranges import estimate
from oneoff.services.batch.rows.selection import RowWise, Selection, StepResult
from oneoff.services.batch.run.bounds import TurnEnded
from oneoff.services.batch.run.faults import Fault, database_lost, failed_too_often, fault_of
from oneoff.services.batch.run.rejects import process_row_by_row, rejects_warning, row_error
from oneoff.services.batch.run.throttling import Sizing, Throttling
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.checkpoints import ENDED, BatchTakenOver, Checkpoint, State
from oneoff.services.batch.transactions import Transactions, current_batch
from oneoff.utils.concurrency import uninterrupted
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.state.identity import Identity

MAX_FAILURES = 8
"""Consecutive batches that may fail by conflicts or lost connections before the run stops."""
MAX_RECONNECT_PAUSE = 2.0  # seconds between two attempts to connect, at most
STOP_TIMEOUT = 10.0  # seconds to store that a run stopped; a failure to store it is harmless
# On SQLite, the run pauses after each batch for this part of the batch's duration. Other writers
# poll for the write lock, and would never get it if the run took it again immediately.
GAP = 0.2
MIN_GAP = 0.005  # seconds


class BatchRun:
    """One run of one batch.

    Args:
        selection: The command with its rows.
        identity: Identity of the batch.
        context: The objects that the batches of the run share.
    """

    def __init__(self, selection: Selection, identity: Identity, context: RunContext) -> None:
        self._command = command = selection.command
        self._selection, self._identity = selection, identity
        self._database, self._terminal = context.database, context.terminal
        self._bounds, self._rejects = context.bounds, context.rejects
        self._liveness, self._progress = context.liveness, context.progress
        self._transactions = Transactions(self._database)
        self._throttling = Throttling(command, self._transactions, context)
        self._sizing = Sizing(
            command.batch_size,
            aim=command.batch_seconds,
            largest=command.largest_batch,
            smallest=command.smallest_batch,
        )
        self._failures = 0
        self._checkpoint: Checkpoint

    async def run(self) -> Result:
        """Claim the batch and process it to its end, or until a bound stops this run."""
        async with self._transactions:
            self._checkpoint = await claims.claim_with_retry(self._transactions, self._claim)
            self._say_claimed(self._checkpoint)
            self._selection.declare_again(self._checkpoint.started_at)
            if self._checkpoint.state not in ENDED:
                await self._estimate()
            token = current_batch.set(self._checkpoint.id)
            try:
                await self._loop()
            finally:
                current_batch.reset(token)
        return self._result()

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        new_run = self._command.new_run
        checkpoint = await claims.claim(connection, self._database, self._identity, new_run=new_run)
        self._rejects.check_place(checkpoint.id, self._database.run_id)
        return checkpoint

    async def _estimate(self) -> None:
        """Show and store the approximate number of remaining rows."""
        async with self._transactions.begin() as connection:
            left = await estimate(connection, self._selection.keys(self._last_key()))
            await checkpoints.write_total(connection, self._checkpoint, left)
        self._say_estimate(left)

    def _last_key(self) -> Any:
        return None if self._checkpoint.cursor is None else decode(self._checkpoint.cursor)

    def _say_estimate(self, left: int) -> None:
        self._progress.start(left)

    async def _loop(self) -> None:
        try:
            while self._checkpoint.state not in ENDED:
                try:
                    # Both before the transaction: while the run waits, it holds no row locks.
                    self._bounds.check(self._checkpoint)
                    self._checkpoint = await self._throttling.wait(self._checkpoint)
                    await self._do_batch()
                except Exception as exc:  # noqa: BLE001 - raised again unless the run can recover
                    await self._recover(exc)
        except TurnEnded:
            await uninterrupted(self._write_stopped("its turn has ended"))
        except BaseException as exc:
            await uninterrupted(self._stop(exc))
            raise

    async def _do_batch(self) -> None:
        """Process one batch, and save its checkpoint in the same transaction."""
        size = self._bounds.at_most(self._sizing.size)
        started = monotonic()
        async with asyncio.timeout(self._command.batch_timeout):
            try:
                step, saved = await self._attempt(size)
            except Exception as exc:
                if not self._may_reject(exc):
                    raise
                # The failed transaction was rolled back, so its rows can be processed again.
                step, saved = await self._attempt(size, row_by_row=True)
        self._checkpoint, self._failures = saved, 0
        self._bounds.count(saved)
        seconds = monotonic() - started
        self._sizing.record(seconds, step.done)
        self._throttling.record(seconds)
        self._progress.advance(step.done)
        if self._database.url.dialect == "sqlite":
            await asyncio.sleep(max(MIN_GAP, seconds * GAP))

    async def _attempt(
        self, size: int, *, row_by_row: bool = False
    ) -> tuple[StepResult, Checkpoint]:
        after = self._last_key()
        async with self._transactions.begin() as connection:
            if row_by_row and isinstance(self._selection, RowWise):
                step, failed = await process_row_by_row(connection, self._selection, after, size)
                # Checked before the file is written: too many errors roll the batch back, and then
                # its rows must not be in the file.
                self._bounds.check_errors(step.errors)
                # Written before the commit: after a crash in between, a row may be in the file
                # twice, but none is missing.
                self._rejects.write(failed)
            else:
                step = await self._selection.step(connection, after, size)
            # In the transaction of the rows: both are committed, or neither is.
            durable = self._selection.durable
            saved = await checkpoints.save(connection, self._checkpoint, step, durable=durable)
        return step, saved

    def _may_reject(self, exc: Exception) -> bool:
        rejects = self._command.max_errors > 0 and isinstance(self._selection, RowWise)
        return rejects and row_error(exc) is not None

    def _say_claimed(self, checkpoint: Checkpoint) -> None:
        if checkpoint.state is State.FINISHED:
            self._say_finished(checkpoint)
        elif checkpoint.cursor is not None:
            self._terminal.err(
                f"resuming {checkpoint.id} after {readable(checkpoint.cursor)}: "
                f"{counted(checkpoint.rows_done, 'row')} done\n"
            )

    def _say_finished(self, checkpoint: Checkpoint) -> None:
        why = "its run was killed before it reported the end"
        if self._identity.once:
            why = "use --new-run to start it again"
        self._terminal.err(f"{checkpoint.id} is finished: {why}\n")

    async def _recover(self, exc: Exception) -> None:
        """Prepare for another attempt after a conflict or a lost connection, or raise the error."""
        fault = fault_of(exc)
        self._failures += 1
        if fault is Fault.FATAL:
            raise exc
        if self._failures > MAX_FAILURES:
            raise failed_too_often(type(exc).__name__, self._checkpoint.run_rows) from exc
        if fault is Fault.CONFLICT or isinstance(exc, TimeoutError):
            self._sizing.halve()
        if fault is Fault.CONFLICT:
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**self._failures)  # noqa: S311 - a pause, no secret
        else:
            await self._reconnect()

    async def _reconnect(self) -> None:
        """Wait until the database is available again, and read the checkpoint."""
        seconds = self._command.reconnect_seconds
        deadline, pause = monotonic() + seconds, 0.05
        while True:
            last = monotonic() + pause > deadline
            # Drop first, then claim again on a new connection, then renew the liveness lock. The
            # checkpoint shows whether the last commit on the lost connection was made.
            await self._transactions.drop()
            try:
                async with asyncio.timeout(self._command.batch_timeout):
                    self._checkpoint = await self._reclaim()
                    await self._liveness.renew()
            except (SQLAlchemyError, OSError, Unavailable) as exc:
                if fault_of(exc) is Fault.FATAL:
                    raise
                if last:
                    raise database_lost(seconds, self._checkpoint.run_rows) from exc
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RECONNECT_PAUSE)

    async def _reclaim(self) -> Checkpoint:
        async with self._transactions.begin() as connection:
            return await checkpoints.reclaim(connection, self._checkpoint, self._database.run_id)

    async def _stop(self, exc: BaseException) -> None:
        """Store that the run ended before the batch did, and inform the operator."""
        if isinstance(exc, BatchTakenOver) or self._checkpoint.state in ENDED:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._write_stopped(note_of(exc), _exit_code(exc))
        except (SQLAlchemyError, OSError, CommandError):
            # The row keeps the state `running`, but its run has ended, so the next run resumes it.
            return
        self._say_stopped()

    def _say_stopped(self) -> None:
        self._progress.close()
        self._terminal.err(
            f"saved: {counted(self._checkpoint.run_rows, 'row')} changed by this run, "
            f"up to {readable(self._checkpoint.cursor)}; the same command continues from there\n"
        )

    async def _write_stopped(self, note: str, exit_code: int | None = None) -> None:
        # The error may have come while a commit was under way, so `_checkpoint` may be outdated.
        checkpoint = await self._reclaim()
        async with self._transactions.begin() as connection:
            stopped = replace(checkpoint, state=State.STOPPED)
            self._checkpoint = await checkpoints.write(
                connection, stopped, note=note, exit_code=exit_code
            )

    def _result(self) -> Result:
        checkpoint = self._checkpoint
        data: dict[str, Any] = {
            "batch": checkpoint.id,
            "rows_done": checkpoint.rows_done,
            "rows_changed": checkpoint.rows_changed,
            "errors": checkpoint.errors,
        }
        warnings = [rejects_warning(checkpoint.errors)] if checkpoint.errors else []
        if not checkpoint.run_rows:
            return Result.unchanged("nothing to do", data=data, warnings=warnings)
        before = checkpoint.rows_changed - checkpoint.run_rows
        also = f", {checkpoint.rows_changed:,} including earlier runs" if before else ""
        return Result.changed(
            f"changed {counted(checkpoint.run_rows, 'row')}{also}",
            rows=checkpoint.run_rows,
            data=data,
            warnings=warnings,
        )


def note_of(exc: BaseException) -> str:
    """Return why a run stopped, as the note of `batch show`."""
    if isinstance(exc, asyncio.CancelledError):
        return "interrupted"
    return exc.message if isinstance(exc, CommandError) else type(exc).__name__


def _exit_code(exc: BaseException) -> int | None:
    """Return the exit code of the run; None if an operator or the platform stopped it."""
    if isinstance(exc, Exception):
        return int(exc.exit_code if isinstance(exc, CommandError) else CommandError.exit_code)
    return None
