"""The supervisor of a fleet: hands the shards of a batch to workers, and waits for their end.

What is done, and by whom, is read from the database every time. So a supervisor that was killed is
replaced by starting it again, and a worker that was killed is noticed like any other dead run.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.arguments import Kind
from oneoff.core.errors import CommandError, ExitCode, TemporaryError, Unavailable, UsageError
from oneoff.core.result import Result
from oneoff.database.tables import batches
from oneoff.runtime.audit.record import reconcile
from oneoff.services.batch.run.current_shard import TURN
from oneoff.services.batch.run.faults import Fault, database_lost, fault_of
from oneoff.services.batch.run.loop import Shared
from oneoff.services.batch.run.sharded import given_up, result_of
from oneoff.services.batch.state import checkpoints, shards
from oneoff.services.batch.state.checkpoints import Checkpoint, State, taken_over
from oneoff.services.batch.state.claims import claim_with_retry
from oneoff.services.batch.state.identity import identify
from oneoff.services.batch.state.shards import Shard
from oneoff.services.batch.transactions import Transactions
from oneoff.utils.concurrency import uninterrupted
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.jobs.shard_queue import ShardQueue

POLL = 0.5
"""Seconds between two looks at the shards."""
RECONCILE = 2.0
"""Seconds between two searches for runs that died."""
AGAIN = 5.0
"""Seconds after which it is made sure that a shard nobody has claimed is still queued."""
LOST = 15.0
"""Seconds after which a job that a worker has taken, without claiming its shard, is queued anew."""
IDLE = 15.0
"""Seconds without a shard at work after which the operator is asked whether a worker runs."""
MAX_TRIES = 5
"""Times in a row that a shard may stop for a passing reason without getting any further."""
SLACK = 10.0
"""Seconds that are left of a job for what is not a batch."""
_PASSING = frozenset({ExitCode.UNAVAILABLE, ExitCode.TEMPORARY})


@dataclass
class Handed:
    """What the supervisor remembers of a shard it has handed out.

    Attributes:
        fence: For which claim.
        attempt: How often for that claim.
        at: When it last looked whether the job is there.
        taken: Since when a worker has had the job; None while it is queued.
        failures: Times it stopped for a passing reason.
        rows: Rows that were done when it last did.
    """

    fence: int = -1
    attempt: int = 0
    at: float = 0.0
    taken: float | None = None
    failures: int = 0
    rows: int = -1


def check_fleet(command: BatchCommand, dialect: str, name: str) -> None:
    """Refuse what workers can't do.

    Raises:
        UsageError: All that stands against it.
    """
    from oneoff.services.jobs.shard_queue import TIMEOUT

    secrets = [field for field in command.fields().values() if field.kind is Kind.SECRET]
    longest = TIMEOUT - TURN - SLACK
    slow = command.batch_timeout > longest
    reasons = (
        (dialect == "sqlite", "--fleet needs PostgreSQL: a SQLite file has one writer at a time"),
        (secrets, "--fleet is not for commands with secrets: they do not travel to workers"),
        (command.lock, f"--fleet is not for commands with a lock: {command.lock!r} is one run's"),
        (slow, f"--fleet needs a batch_timeout of at most {longest:g} s"),
        (not secrets and not _travels(command, name), "--fleet can't pass these arguments on"),
    )
    if wrong := [text for is_so, text in reasons if is_so]:
        raise UsageError(wrong, try_="the same without --fleet")


def _travels(command: BatchCommand, name: str) -> bool:
    """Return whether a worker that reads the arguments has the same batch."""
    said = identify(command, name).arguments
    try:
        return identify(type(command)(**json.loads(said)), name).arguments == said
    except UsageError:
        return False


class Fleet:
    """One run that lets workers do a batch.

    Args:
        command: What they do.
        selection: With which rows.
        identity: Which batch that is.
        shared: The database, and where to say how far it is.
        handout: Queues shards.
        environment: The run's, for the target that was confirmed.
    """

    def __init__(
        self,
        command: BatchCommand,
        selection: Selection,
        identity: Identity,
        shared: Shared,
        *,
        handout: ShardQueue,
        environment: str,
    ) -> None:
        self._command, self._selection, self._identity = command, selection, identity
        self._shared, self._database = shared, shared.database
        self._handout, self._environment = handout, environment
        self._transactions = Transactions(shared.database)
        self._handed: dict[str, Handed] = {}
        self._without_redis: float | None = None
        self._shown = 0
        self._busy: float | None = None
        self._reconciled = 0.0
        self._whole: Checkpoint

    async def run(self) -> Result:
        """Claim the whole, hand its shards out, and wait for their end."""
        try:
            self._whole = await claim_with_retry(self._transactions, self._claim_in)
            found = await self._look()
            before = sum(shard.rows_changed for shard in found)
            self._begin_showing(found)
            try:
                found = await self._supervise(found)
                await self._end(found)
            except BaseException as exc:
                await uninterrupted(self._leave(exc))
                raise
            return result_of(
                self._whole.id, found, sum(shard.rows_changed for shard in found) - before
            )
        finally:
            await self._transactions.close()

    async def _supervise(self, found: list[Shard]) -> list[Shard]:
        """Go on until every shard has ended, or has failed for good."""
        while open_ones := [shard for shard in found if not shard.ended]:
            waiting = [shard for shard in open_ones if not shard.at_work]
            for shard in waiting:
                self._count_failure(shard)
            if all(self._has_failed(shard) for shard in open_ones):
                break
            await self._hand_out([shard for shard in waiting if not self._has_failed(shard)])
            await asyncio.sleep(POLL)
            found = await self._look()
            self._show(found)
        return found

    async def _hand_out(self, waiting: list[Shard]) -> None:
        """Queue what waits; without Redis the workers go on with what they have."""
        try:
            for shard in waiting:
                await self._hand_out_one(shard)
            self._without_redis = None
        except (Unavailable, TemporaryError):
            now = monotonic()
            self._without_redis = self._without_redis or now
            if now - self._without_redis > self._command.reconnect_seconds:
                raise

    async def _hand_out_one(self, shard: Shard) -> None:
        from oneoff.services.jobs.shard_queue import Given

        handed, now = self._handed.setdefault(shard.id, Handed()), monotonic()
        if handed.fence != shard.fence:
            handed.fence, handed.attempt, handed.taken = shard.fence, 0, None
        elif now - handed.at < AGAIN:
            return
        given = await self._handout.give(shard.id, shard.fence, handed.attempt)
        handed.at = now
        handed.taken = (handed.taken or now) if given is Given.TAKEN else None
        lost = handed.taken is not None and now - handed.taken >= LOST
        if lost or given is Given.GONE:
            handed.attempt, handed.taken, handed.at = handed.attempt + 1, None, 0.0

    def _count_failure(self, shard: Shard) -> None:
        handed = self._handed.setdefault(shard.id, Handed())
        if shard.exit_code is None or shard.fence == handed.fence:
            return  # it has not been taken up since
        further = shard.rows_done > handed.rows
        handed.failures = 1 if further else handed.failures + 1
        handed.rows = shard.rows_done

    def _has_failed(self, shard: Shard) -> bool:
        if shard.ended or shard.at_work or shard.exit_code is None:
            return False
        return shard.exit_code not in _PASSING or self._handed[shard.id].failures > MAX_TRIES

    async def _claim_in(self, connection: AsyncConnection) -> Checkpoint:
        name = await connection.scalar(select(func.current_database()))
        whole = await shards.claim_parent(
            connection,
            self._database,
            self._identity,
            self._selection,
            confirmed=f"{name}@{self._environment}",
        )
        # What failed under an earlier supervisor is tried again by this one.
        again = update(batches).where(
            batches.c.parent == whole.id, batches.c.exit_code.is_not(None)
        )
        await connection.execute(again.values(exit_code=None))
        return whole

    async def _look(self) -> list[Shard]:
        """Read how far the shards are, and wait for a database that is away."""
        deadline, lost = monotonic() + self._command.reconnect_seconds, False
        while True:
            try:
                return await self._look_once(lost=lost)
            except (SQLAlchemyError, OSError, Unavailable) as exc:
                if fault_of(exc) is Fault.FATAL:
                    raise
                if monotonic() > deadline:
                    raise database_lost(self._command.reconnect_seconds, 0) from exc
            lost = True
            await self._transactions.drop()
            await asyncio.sleep(POLL)

    async def _look_once(self, *, lost: bool) -> list[Shard]:
        async with asyncio.timeout(self._command.batch_timeout):
            if lost:
                await self._shared.liveness.renew()
            async with self._transactions.begin() as connection:
                return await self._look_in(connection)

    async def _look_in(self, connection: AsyncConnection) -> list[Shard]:
        if monotonic() - self._reconciled > RECONCILE:
            await reconcile(connection, self._database)
            self._reconciled = monotonic()
        mine = select(batches.c.fence).where(batches.c.id == self._whole.id)
        if await connection.scalar(mine) != self._whole.fence:
            raise taken_over(self._whole)
        return await shards.read_shards(connection, self._whole.id)

    def _begin_showing(self, found: list[Shard]) -> None:
        done, ended = sum(s.rows_done for s in found), sum(s.ended for s in found)
        self._shown = done
        self._shared.progress.start(max((self._whole.total or 0) - done, 0))
        self._busy = monotonic()
        so_far = f": {ended} of them are finished, {counted(done, 'row')} done"
        goes_on = so_far if done or ended else ""
        self._shared.terminal.err(
            f"{self._whole.id} is handed to the workers in {len(found)} shards{goes_on}\n"
        )

    def _show(self, found: list[Shard]) -> None:
        done = sum(shard.rows_done for shard in found)
        self._shared.progress.advance(done - self._shown)
        self._say_if_idle(busy=done > self._shown or any(shard.at_work for shard in found))
        self._shown = done

    def _say_if_idle(self, *, busy: bool) -> None:
        """Say once for each such time that no worker does anything."""
        now = monotonic()
        if busy:
            self._busy = now
        elif self._busy is not None and now - self._busy > IDLE:
            self._busy = None
            self._shared.terminal.err(
                f"no worker has had a shard in hand for {IDLE:.0f} s: see whether one runs, with "
                "`jobs stats`, and whether it is held, with `system maintenance status`\n"
            )

    async def _end(self, found: list[Shard]) -> None:
        """Close the whole, or say which of its shards failed."""
        failed = [shard for shard in found if not shard.ended]
        async with self._transactions.begin() as connection:
            ended = await shards.close_parent(
                connection, self._whole.id, self._database.run_id, supervised=True
            )
            if failed:
                # Whatever is left in the queue must not go on with it.
                whole = replace(self._whole, state=State.STOPPED)
                await checkpoints.write(connection, whole, note=failed[0].note)
                closed = update(batches).where(batches.c.id == whole.id).values(confirmed="")
                await connection.execute(closed)
        if failed:
            raise _shard_failed(self._whole.id, failed, len(found))
        if ended is State.CANCELLED:
            raise given_up(self._whole.id)

    async def _leave(self, exc: BaseException) -> None:
        """Tell the operator that workers go on without the supervisor."""
        if isinstance(exc, CommandError) and not isinstance(exc, Unavailable):
            return
        self._shared.progress.close()
        self._shared.terminal.err(
            f"the workers go on with {self._whole.id} without this run; the same command watches "
            f"them again, and to end it: python manage.py batch cancel {self._whole.id}\n"
        )


def _shard_failed(whole_id: str, failed: list[Shard], of: int) -> CommandError:
    first = failed[0]
    others = f", and {len(failed) - 1} more" if failed[1:] else ""
    error = CommandError(
        f"shard {first.part} failed: {first.note}{others}",
        why=f"what was done is saved; {of - len(failed)} of {of} shards are finished",
        try_=(
            f"python manage.py batch show {whole_id}",
            "mend what is wrong, and run the same command again: it goes on from there",
        ),
        code="shard-failed",
    )
    error.exit_code = ExitCode(first.exit_code or ExitCode.FAILED)
    return error
