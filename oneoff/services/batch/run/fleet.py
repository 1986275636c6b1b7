"""Supervise a fleet: queue the shards of a batch for workers, and wait until all have ended.

The run of `--fleet` is the supervisor. It only puts the ids of shards into the workers' queue
(`oneoff.services.jobs.shard_queue`). A worker executes the job in
`oneoff.integrations.arq.shard_job`, and stores its progress in the row of the shard. The supervisor
reads these rows twice a second; its result and its exit code come from them.

The progress and the run of each shard are read from the database every time. So a killed supervisor
can be started again, and a killed worker is detected like any other run whose process died.
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
from oneoff.database.limits import declared_limits
from oneoff.database.tables import batches
from oneoff.runtime.audit.abandoned import close_abandoned
from oneoff.services.batch.run.bounds import TURN
from oneoff.services.batch.run.faults import Fault, database_lost, fault_of
from oneoff.services.batch.run.sharded import result_of, shards_cancelled
from oneoff.services.batch.state import checkpoints
from oneoff.services.batch.state.checkpoints import Checkpoint, State, taken_over
from oneoff.services.batch.state.claims import claim_with_retry
from oneoff.services.batch.state.identity import identify
from oneoff.services.batch.state.queries import Shard, read_shards
from oneoff.services.batch.state.shards import claim_parent, close_parent
from oneoff.services.batch.transactions import Transactions
from oneoff.utils.concurrency import uninterrupted
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.command import BatchCommand
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.run.context import RunContext
    from oneoff.services.batch.state.identity import Identity
    from oneoff.services.jobs.shard_queue import ShardQueue

POLL = 0.5  # seconds between two reads of the shards
ABANDONED_PAUSE = 2.0  # seconds between two searches for runs whose process died
RECHECK = 5.0
"""Seconds between two checks that an unclaimed shard is still in the queue."""
LOST_AFTER = 15.0
"""Seconds after which a job is queued again, if a worker took it but did not claim its shard."""
SAY_IDLE_AFTER = 15.0
"""Seconds without progress and without an active shard, after which the operator is informed."""
MAX_SHARD_FAILURES = 5
"""Consecutive times that a shard may stop for a temporary reason without progress."""
JOB_OVERHEAD = 10.0
"""Seconds of a job that are reserved for its start, its claim, and the end of its run."""
_TEMPORARY = frozenset({ExitCode.UNAVAILABLE, ExitCode.TEMPORARY})


@dataclass
class TrackedJob:
    """The job of a shard, as the supervisor has it in memory.

    Attributes:
        fence: The fence of the shard when it was queued; a claim raises the fence.
        attempt: How many earlier jobs for the same fence were replaced.
        checked: When the supervisor last made sure that the job is in the queue; monotonic.
        taken: Since when a worker has had the job; None while it is queued.
        failures: Consecutive times that the shard stopped for a temporary reason without progress.
        rows: Rows that were done when the shard last stopped.
    """

    fence: int = -1
    attempt: int = 0
    checked: float = 0.0
    taken: float | None = None
    failures: int = 0
    rows: int = -1


def check_fleet(command: BatchCommand, database: Database, name: str) -> None:
    """Refuse a command that workers can't run.

    Raises:
        UsageError: With all reasons.
    """
    from oneoff.services.jobs import shard_queue

    secrets = [field for field in command.fields().values() if field.kind is Kind.SECRET]
    longest = shard_queue.TIMEOUT - TURN - JOB_OVERHEAD
    slow = command.batch_timeout > longest
    reasons = (
        (
            database.url.dialect == "sqlite",
            "--fleet needs PostgreSQL: a SQLite file has one writer at a time",
        ),
        (secrets, "--fleet is not for commands that take secrets, which are not sent to workers"),
        (
            command.lock,
            f"--fleet is not for commands with a lock: only one run can hold {command.lock!r}",
        ),
        (
            database.limits != declared_limits(command),
            "--fleet does not send limits to workers: declare them in the class of the batch",
        ),
        (slow, f"--fleet needs a batch_timeout of at most {longest:g} s"),
        (
            not secrets and not _is_reproducible(command, name),
            "--fleet can't send these arguments to workers",
        ),
    )
    if wrong := [text for is_so, text in reasons if is_so]:
        raise UsageError(wrong, try_="run the same command without --fleet")


def _is_reproducible(command: BatchCommand, name: str) -> bool:
    """Return whether the stored arguments, from which a worker builds the command, are complete."""
    arguments = identify(command, name).arguments
    try:
        return identify(type(command)(**json.loads(arguments)), name).arguments == arguments
    except UsageError:
        return False


class Fleet:
    """One run that lets workers process a batch.

    Args:
        selection: The command with its rows.
        identity: Identity of the batch.
        context: The database, the run, and its output.
        queue: The queue for the shards.
    """

    def __init__(
        self, selection: Selection, identity: Identity, context: RunContext, queue: ShardQueue
    ) -> None:
        self._command = selection.command
        self._selection, self._identity = selection, identity
        self._context, self._database, self._queue = context, context.database, queue
        self._transactions = Transactions(context.database)
        self._jobs: dict[str, TrackedJob] = {}
        self._without_redis: float | None = None
        self._shown = 0
        self._busy: float | None = None
        self._closed_abandoned_at = 0.0
        self._parent: Checkpoint

    async def run(self) -> Result:
        """Claim the parent batch, queue its shards, and wait until they have ended."""
        async with self._transactions:
            self._parent = await claim_with_retry(self._transactions, self._claim)
            shards = await self._read()
            before = sum(shard.rows_changed for shard in shards)
            self._begin_showing(shards)
            try:
                shards = await self._supervise(shards)
                await self._end(shards)
            except BaseException as exc:
                await uninterrupted(self._leave(exc))
                raise
            rows = sum(shard.rows_changed for shard in shards) - before
            return result_of(self._parent.id, shards, rows)

    async def _claim(self, connection: AsyncConnection) -> Checkpoint:
        # Workers compare the target with their own database and environment, and refuse another.
        name = await connection.scalar(select(func.current_database()))
        parent = await claim_parent(
            connection,
            self._database,
            self._identity,
            self._selection,
            confirmed=f"{name}@{self._context.run.environment}",
        )
        # Shards that failed under an earlier supervisor are tried again by this one.
        failed = (batches.c.parent == parent.id, batches.c.exit_code.is_not(None))
        await connection.execute(update(batches).where(*failed).values(exit_code=None))
        return parent

    async def _supervise(self, shards: list[Shard]) -> list[Shard]:
        """Queue and watch the shards until each has ended or failed permanently; return them."""
        while unfinished := [shard for shard in shards if not shard.ended]:
            waiting = [shard for shard in unfinished if not shard.active]
            for shard in waiting:
                self._count_failure(shard)
            if all(self._has_failed(shard) for shard in unfinished):
                break
            await self._queue_shards([shard for shard in waiting if not self._has_failed(shard)])
            await asyncio.sleep(POLL)
            shards = await self._read()
            self._show(shards)
        return shards

    async def _queue_shards(self, waiting: list[Shard]) -> None:
        """Queue the waiting shards; tolerate a lost Redis for `reconnect_seconds`."""
        try:
            for shard in waiting:
                await self._queue_shard(shard)
            self._without_redis = None
        except (Unavailable, TemporaryError):
            now = monotonic()
            self._without_redis = self._without_redis or now
            if now - self._without_redis > self._command.reconnect_seconds:
                raise

    async def _queue_shard(self, shard: Shard) -> None:
        """Make sure that there is a job for the shard."""
        from oneoff.services.jobs.shard_queue import JobState

        # The id of a job contains the fence of the shard, so queueing it twice for the same claim
        # changes nothing. Each claim raises the fence, so the next job has a new id. In two cases
        # the same fence needs another id, for which `attempt` is in the id too: the worker that
        # took the job died before it claimed the shard, or ARQ stores a result under the id and
        # accepts no job with it.
        job, now = self._jobs.setdefault(shard.id, TrackedJob()), monotonic()
        if job.fence != shard.fence:
            job.fence, job.attempt, job.taken = shard.fence, 0, None
        elif now - job.checked < RECHECK:
            return
        state = await self._queue.put(shard.id, shard.fence, job.attempt)
        job.checked = now
        job.taken = (job.taken or now) if state is JobState.TAKEN else None
        lost = job.taken is not None and now - job.taken >= LOST_AFTER
        if lost or state is JobState.BLOCKED:
            # `checked` is 0, so the next round queues the new attempt without waiting for RECHECK.
            job.attempt, job.taken, job.checked = job.attempt + 1, None, 0.0

    def _count_failure(self, shard: Shard) -> None:
        """Count a failure of the shard, once for each claim of it."""
        job = self._jobs.setdefault(shard.id, TrackedJob())
        if shard.exit_code is None or shard.fence == job.fence:
            return  # no run has claimed it since the failure that was counted last
        progress = shard.rows_done > job.rows
        job.failures = 1 if progress else job.failures + 1
        job.rows = shard.rows_done

    def _has_failed(self, shard: Shard) -> bool:
        """Return whether a shard has failed permanently: no further job is queued for it."""
        if shard.ended or shard.active or shard.exit_code is None:
            return False
        return (
            shard.exit_code not in _TEMPORARY or self._jobs[shard.id].failures > MAX_SHARD_FAILURES
        )

    async def _read(self) -> list[Shard]:
        """Read the shards; wait for a lost database."""
        deadline, lost = monotonic() + self._command.reconnect_seconds, False
        while True:
            try:
                async with asyncio.timeout(self._command.batch_timeout):
                    if lost:
                        # Otherwise other runs would close this run as abandoned.
                        await self._context.liveness.renew()
                    async with self._transactions.begin() as connection:
                        return await self._read_in(connection)
            except (SQLAlchemyError, OSError, Unavailable) as exc:
                if fault_of(exc) is Fault.FATAL:
                    raise
                if monotonic() > deadline:
                    raise database_lost(self._command.reconnect_seconds, 0) from exc
            lost = True
            await self._transactions.drop()
            await asyncio.sleep(POLL)

    async def _read_in(self, connection: AsyncConnection) -> list[Shard]:
        # The shard of a killed worker looks active until its run is closed as abandoned.
        if monotonic() - self._closed_abandoned_at > ABANDONED_PAUSE:
            await close_abandoned(connection, self._database)
            self._closed_abandoned_at = monotonic()
        # Another fence means that another supervisor has claimed the parent: this one stops.
        fence = select(batches.c.fence).where(batches.c.id == self._parent.id)
        if await connection.scalar(fence) != self._parent.fence:
            raise taken_over(self._parent)
        return await read_shards(connection, self._parent.id)

    def _begin_showing(self, shards: list[Shard]) -> None:
        done, ended = sum(s.rows_done for s in shards), sum(s.ended for s in shards)
        self._shown = done
        self._context.progress.start(max((self._parent.total or 0) - done, 0))
        self._busy = monotonic()
        so_far = f": {ended} finished, {counted(done, 'row')} done"
        resumes = so_far if done or ended else ""
        self._context.terminal.err(
            f"workers process {self._parent.id} in {counted(len(shards), 'shard')}{resumes}\n"
        )

    def _show(self, shards: list[Shard]) -> None:
        done = sum(shard.rows_done for shard in shards)
        self._context.progress.advance(done - self._shown)
        self._say_if_idle(busy=done > self._shown or any(shard.active for shard in shards))
        self._shown = done

    def _say_if_idle(self, *, busy: bool) -> None:
        """Inform the operator, once for each idle period, that no worker processes a shard."""
        now = monotonic()
        if busy:
            self._busy = now
        elif self._busy is not None and now - self._busy > SAY_IDLE_AFTER:
            self._busy = None
            self._context.terminal.err(
                f"no worker has processed a shard for {SAY_IDLE_AFTER:.0f} s: "
                "check that a worker is running with `jobs stats`, and that it is not paused "
                "with `system maintenance status`\n"
            )

    async def _end(self, shards: list[Shard]) -> None:
        """Close the parent batch, or raise the error of the shards that failed."""
        failed = [shard for shard in shards if not shard.ended]
        async with self._transactions.begin() as connection:
            ended = await close_parent(
                connection, self._parent.id, self._database.run_id, supervised=True
            )
            if failed:
                # Without a confirmed target, workers refuse jobs that are still in the queue.
                parent = replace(self._parent, state=State.STOPPED)
                await checkpoints.write(connection, parent, note=failed[0].note)
                refused = update(batches).where(batches.c.id == parent.id).values(confirmed="")
                await connection.execute(refused)
        if failed:
            raise _shard_failed(self._parent.id, failed, len(shards))
        if ended is State.CANCELLED:
            raise shards_cancelled(self._parent.id)

    async def _leave(self, exc: BaseException) -> None:
        """Inform the operator that the workers continue without this run."""
        if isinstance(exc, CommandError) and not isinstance(exc, Unavailable):
            return
        self._context.progress.close()
        self._context.terminal.err(
            f"the workers continue {self._parent.id} without this run; to watch them, run the same "
            f"command again; to stop them: python manage.py batch cancel {self._parent.id}\n"
        )


def _shard_failed(parent_id: str, failed: list[Shard], of: int) -> CommandError:
    first = failed[0]
    others = f", and {len(failed) - 1} more" if failed[1:] else ""
    error = CommandError(
        f"shard {first.part} failed: {first.note}{others}",
        why=f"committed rows are kept; {of - len(failed)} of {counted(of, 'shard')} finished",
        try_=(
            f"python manage.py batch show {parent_id}",
            "fix the cause, and run the same command again: it resumes the unfinished shards",
        ),
        code="shard-failed",
    )
    # `oneoff.cli` exits with this code, so the supervisor exits like a run of this shard.
    error.exit_code = ExitCode(first.exit_code or ExitCode.FAILED)
    return error
