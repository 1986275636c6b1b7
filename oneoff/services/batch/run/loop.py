"""The loop of a batch run. Read `BatchRun._loop` from top to bottom."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError, Unavailable
from oneoff.core.result import Result
from oneoff.services.batch.rows.cursor import decode, readable
from oneoff.services.batch.rows.estimate import estimate
from oneoff.services.batch.rows.selection import RowWise, Selection, Step
from oneoff.services.batch.run.bounds import Bounds, TurnEnded
from oneoff.services.batch.run.faults import Fault, database_lost, failed_too_often, fault_of
from oneoff.services.batch.run.rejects import Rejects, rejects_warning, row_error
from oneoff.services.batch.run.sizing import Sizing
from oneoff.services.batch.run.throttling import Hold
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.checkpoints import ENDED, BatchTakenOver, Checkpoint, State
from oneoff.services.batch.run.shared import Liveness
from oneoff.services.batch.state.reverts import cancel_reverted
from oneoff.services.batch.transactions import Transactions, current_batch, session_in
from oneoff.utils.concurrency import uninterrupted
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.runtime.progress import Progress
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.run.throttling import Pace
    from oneoff.services.batch.state.identity import Identity

    Failed = list[tuple[Any, CommandError]]

MAX_FAILURES = 8
"""Batches in a row that may fail by conflicts or lost connections before the run gives up."""
MAX_RECONNECT_PAUSE = 2.0
"""Seconds between two attempts to connect, at most."""
STOP_TIMEOUT = 10.0
"""Seconds to write down that a run stopped; it is no harm if that fails."""
GAP = 0.2
"""Part of a batch's time for which SQLite is then left to other writers: they poll for its lock,
and would starve if it were taken again at once."""
SHORTEST_GAP = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all batches of one run have in common.

    Attributes:
        database: Where.
        bounds: How far they go.
        rejects: Where the rows go that are left out.
        liveness: By which others see that the run is alive.
        terminal: What is said goes there.
        progress: Shows how far they are.
        pace: How much of the time they are at work.
    """

    database: Database
    bounds: Bounds
    rejects: Rejects
    liveness: Liveness
    terminal: Terminal
    progress: Progress
    pace: Pace


class BatchRun:
    """One run of one batch, for real.

    Args:
        command: What to do.
        selection: With which rows.
        identity: Which batch that is.
        shared: What the run's batches have in common.
    """

    def __init__(
        self, command: BatchCommand, selection: Selection, identity: Identity, shared: Shared
    ) -> None:
        self._command, self._selection, self._identity = command, selection, identity
        self._database, self._terminal = shared.database, shared.terminal
        self._bounds, self._rejects = shared.bounds, shared.rejects
        self._liveness, self._progress = shared.liveness, shared.progress
        self._transactions = Transactions(self._database)
        self._hold = Hold(command, self._transactions, self._terminal, shared.pace)
        self._sizing = Sizing(
            command.batch_size,
            aim=command.batch_seconds,
            largest=command.largest_batch,
            smallest=command.smallest_batch,
        )
        self._failures = self._batches = 0
        self._mine: Checkpoint

    async def run(self) -> Result:
        """Claim the batch and work at it to its end, or as far as this run may go."""
        try:
            self._mine = await self._claim()
            self._selection.begin(self._mine.started_at)
            if self._mine.state not in ENDED:
                await self._estimate()
            token = current_batch.set(self._mine.id)
            try:
                await self._loop()
            finally:
                current_batch.reset(token)
        finally:
            await self._transactions.close()
        return self._result()

    async def _estimate(self) -> None:
        """Say about how many rows are left, here and for other terminals."""
        after = None if self._mine.cursor is None else decode(self._mine.cursor)
        async with self._transactions.begin() as connection:
            left = await estimate(connection, self._selection.keys(after))
            await checkpoints.write_total(connection, self._mine, left)
        self._say_estimate(left)

    def _say_estimate(self, left: int) -> None:
        self._progress.start(left)

    async def _loop(self) -> None:
        try:
            while self._mine.state not in ENDED:
                try:
                    self._bounds.check(self._mine)
                    self._mine = await self._hold.while_asked(self._mine, self._bounds)
                    await self._batch()
                except Exception as exc:  # noqa: BLE001 - raised again unless it can be mended
                    await self._mend(exc)
        except TurnEnded:
            await uninterrupted(self._write_stopped("its turn has ended"))
        except BaseException as exc:
            await uninterrupted(self._stop(exc))
            raise

    async def _batch(self) -> None:
        """Do one batch, and save it in the same transaction."""
        size = self._bounds.at_most(self._sizing.size)
        started = monotonic()
        async with asyncio.timeout(self._command.batch_timeout):
            try:
                step, saved = await self._attempt(size)
            except Exception as exc:
                if not self._may_leave_out(exc):
                    raise
                step, saved = await self._attempt(size, row_by_row=True)
        self._mine, self._failures = saved, 0
        self._bounds.count(saved)
        self._batches += 1
        seconds = monotonic() - started
        self._sizing.record(seconds, step.done)
        self._hold.record(seconds)
        self._progress.advance(step.done)
        if self._database.url.dialect == "sqlite":
            await asyncio.sleep(max(SHORTEST_GAP, seconds * GAP))

    async def _attempt(self, size: int, *, row_by_row: bool = False) -> tuple[Step, Checkpoint]:
        after = None if self._mine.cursor is None else decode(self._mine.cursor)
        async with self._transactions.begin() as connection:
            if row_by_row and isinstance(self._selection, RowWise):
                step, failed = await do_row_by_row(connection, self._selection, after, size)
                self._bounds.check_errors(step.errors)
                self._rejects.write(failed)
            else:
                step = await self._selection.step(connection, after, size)
            durable = self._selection.durable
            saved = await checkpoints.save(connection, self._mine, step, durable=durable)
        return step, saved

    def _may_leave_out(self, exc: Exception) -> bool:
        leaves_out = self._command.max_errors > 0 and isinstance(self._selection, RowWise)
        return leaves_out and row_error(exc) is not None

    async def _claim(self) -> Checkpoint:
        mine = await claims.claim_with_retry(self._transactions, self._claim_in)
        self._say_claimed(mine)
        return mine

    async def _claim_in(self, connection: AsyncConnection) -> Checkpoint:
        await cancel_reverted(connection, self._database, self._identity)
        mine = await claims.claim(
            connection, self._database, self._identity, new_run=self._command.new_run
        )
        self._rejects.check_place(mine.id, self._database.run_id)
        return mine

    def _say_claimed(self, mine: Checkpoint) -> None:
        if mine.state is State.FINISHED:
            self._say_finished(mine)
        elif mine.cursor is not None:
            self._terminal.err(
                f"resuming {mine.id} after {readable(mine.cursor)}: "
                f"{counted(mine.rows_done, 'row')} done\n"
            )

    def _say_finished(self, mine: Checkpoint) -> None:
        why = "its run was killed before it said so"
        if self._identity.once:
            why = "what has this name is not begun again, except with --new-run"
        self._terminal.err(f"{mine.id} is finished: {why}\n")

    async def _mend(self, exc: Exception) -> None:
        """Make it possible to go on after a conflict or a lost connection, or raise the error."""
        fault = fault_of(exc)
        self._failures += 1
        if fault is Fault.FATAL:
            raise exc
        if self._failures > MAX_FAILURES:
            raise failed_too_often(type(exc).__name__, self._mine.run_rows) from exc
        if fault is Fault.CONFLICT or isinstance(exc, TimeoutError):
            self._sizing.halve()
        if fault is Fault.CONFLICT:
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**self._failures)  # noqa: S311 - a pause, no secret
        else:
            await self._reconnect()

    async def _reconnect(self) -> None:
        """Wait for the database to come back, and read what was saved there."""
        deadline, pause = monotonic() + self._command.reconnect_seconds, 0.05
        while not await self._reached_again(last=monotonic() + pause > deadline):
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RECONNECT_PAUSE)

    async def _reached_again(self, *, last: bool) -> bool:
        await self._transactions.drop()
        try:
            async with asyncio.timeout(self._command.batch_timeout):
                self._mine = await self._reclaim()
                await self._liveness.renew()
        except (SQLAlchemyError, OSError, Unavailable) as exc:
            if fault_of(exc) is Fault.FATAL:
                raise
            if last:
                seconds = self._command.reconnect_seconds
                raise database_lost(seconds, self._mine.run_rows) from exc
            return False
        return True

    async def _reclaim(self) -> Checkpoint:
        async with self._transactions.begin() as connection:
            return await checkpoints.reclaim(connection, self._mine, self._database.run_id)

    async def _stop(self, exc: BaseException) -> None:
        """Write down that the run ended before the batch did, and tell the operator."""
        if isinstance(exc, BatchTakenOver) or self._mine.state in ENDED:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._write_stopped(note_of(exc), _exit_code(exc))
        except (SQLAlchemyError, OSError, CommandError):
            return  # it stays "running", of a run that has ended: the next one goes on all the same
        self._say_stopped()

    def _say_stopped(self) -> None:
        self._progress.close()
        self._terminal.err(
            f"saved: {counted(self._mine.run_rows, 'row')} changed by this run, "
            f"up to {readable(self._mine.cursor)}; the same command goes on from there\n"
        )

    async def _write_stopped(self, note: str, exit_code: int | None = None) -> None:
        mine = await self._reclaim()
        async with self._transactions.begin() as connection:
            stopped = replace(mine, state=State.STOPPED)
            self._mine = await checkpoints.write(
                connection, stopped, note=note, exit_code=exit_code
            )

    def _result(self) -> Result:
        mine = self._mine
        data: dict[str, Any] = {
            "batch": mine.id,
            "rows_done": mine.rows_done,
            "rows_changed": mine.rows_changed,
            "errors": mine.errors,
        }
        warnings = [rejects_warning(mine.errors)] if mine.errors else []
        if not mine.run_rows:
            return Result.unchanged("nothing to do", data=data, warnings=warnings)
        before = mine.rows_changed - mine.run_rows
        also = f", {mine.rows_changed:,} with the runs before" if before else ""
        return Result.changed(
            f"changed {counted(mine.run_rows, 'row')}{also}",
            rows=mine.run_rows,
            data=data,
            warnings=warnings,
        )


def note_of(exc: BaseException) -> str:
    """Return why a run stopped, as `batch show` says it."""
    if isinstance(exc, asyncio.CancelledError):
        return "interrupted"
    return exc.message if isinstance(exc, CommandError) else type(exc).__name__


def _exit_code(exc: BaseException) -> int | None:
    """Return what the run will end with; None where somebody stopped it."""
    if isinstance(exc, Exception):
        return int(exc.exit_code if isinstance(exc, CommandError) else CommandError.exit_code)
    return None


async def do_row_by_row(
    connection: AsyncConnection, selection: RowWise, after: Any, size: int
) -> tuple[Step, Failed]:
    """Do the batch that follows a key in one savepoint a row, and return the rows that failed."""
    async with session_in(connection) as session:
        keys, _ = await selection.page(session, after, size)
    changed, failed = 0, []
    for key in keys:
        try:
            async with session_in(connection) as session:
                changed += await selection.one(session, key)
        except Exception as exc:
            error = row_error(exc)
            if error is None:
                raise
            failed.append((key, error))
    last = len(keys) < size
    key = keys[-1] if keys else None
    return Step(key, len(keys), changed, last, errors=len(failed)), failed
