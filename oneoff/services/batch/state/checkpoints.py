"""Save the checkpoint of a batch: the run that works on it, and its progress.

A run claims the checkpoint, which adds one to the fence. It then saves each batch of rows in the
transaction that processes them, with an UPDATE that matches only its own fence. So the rows and the
checkpoint are committed together or not at all, whatever happens to the run or its connection. If
two runs both act as the owner of the batch, only the later one can commit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, and_, bindparam, func, or_, select, true, update

from oneoff.core.errors import TemporaryError
from oneoff.core.outcome import Status
from oneoff.database.tables import batches
from oneoff.services.batch.rows.cursor import encode
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.batch.rows.selection import StepResult


class State(Enum):
    """The states of a batch. A claim changes any unfinished state to `running`."""

    WAITING = "waiting"
    """A shard that no run has claimed yet."""
    RUNNING = "running"
    """A run works on it, or was killed; then the next run with the same arguments resumes it."""
    PAUSED = "paused"
    """Its run waits for `batch resume`."""
    STOPPED = "stopped"
    """A bound, a signal or an error ended the run; the next run resumes."""
    FINISHED = "finished"
    """All rows are done."""
    CANCELLED = "cancelled"
    """An operator cancelled it, or started it again with `--new-run`."""


ENDED = frozenset({State.FINISHED, State.CANCELLED})
"""Final states: the next run with the same arguments starts a new batch."""

IDLE = frozenset({State.WAITING, State.STOPPED})
"""States in which no run works on the batch, whatever the status of its last run."""

UNREPORTED = frozenset({Status.STARTED.value, Status.ABANDONED.value})
"""Statuses of a run that has not reported its end: it is still active, or was killed."""


class BatchTakenOver(TemporaryError):
    """Another run has claimed the batch; this run stops, and saves nothing more."""

    code = "batch-taken-over"


_ID, _FENCE = bindparam("of_id", type_=String), bindparam("of_fence", type_=Integer)
# Built once, because every batch executes it. The condition on the fence stops a run that has lost
# its batch: its UPDATE matches no row and returns none. RETURNING also reads the request of an
# operator, without another round trip.
_WRITE = (
    update(batches)
    .where(batches.c.id == _ID, batches.c.fence == _FENCE)
    .returning(batches.c.requested)
)
# Turns off the wait for the disk at the commit, for this transaction only (the third argument of
# set_config). It is in the same statement because SET LOCAL would be another round trip. A crash of
# the server may then undo the transaction: the rows together with the checkpoint. The next commit
# that waits, of any session, makes it durable too.
_SYNCHRONOUS_COMMIT_OFF = func.set_config("synchronous_commit", "off", true())
_WRITE_WITHOUT_WAITING = _WRITE.returning(_SYNCHRONOUS_COMMIT_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A batch or shard, as this run saved it last.

    Attributes:
        id: Id of the run that started the batch, and the part.
        fence: The fence of this claim.
        cursor: JSON of the last key that is done; None before the first.
        rows_done: Rows processed by all runs.
        rows_changed: Rows changed by all runs.
        run_rows: Rows changed by this run.
        errors: Rows rejected by all runs.
        requested: The request of an operator: "pause", "cancel", or empty.
        state: See `State`.
        started_at: When the batch was started, by its first run.
        done_before: Rows that were done when this run claimed the batch.
        parent: For a shard, the id of its parent batch; otherwise empty.
        shards: Number of shards of the batch; 0 for a batch without shards.
        total: Estimated number of rows at the last claim; None if unknown.
    """

    id: str
    fence: int
    cursor: str | None
    rows_done: int
    rows_changed: int
    run_rows: int
    errors: int
    requested: str
    state: State
    started_at: datetime
    done_before: int
    parent: str
    shards: int
    total: int | None

    @property
    def done_by_run(self) -> int:
        """Rows processed by this run."""
        return self.rows_done - self.done_before

    @classmethod
    def of_row(cls, row: RowMapping, done_before: int) -> Checkpoint:
        """Return the checkpoint that a row of the table stores."""
        names = (
            "id fence cursor rows_done rows_changed run_rows errors requested started_at parent "
            "shards total"
        )
        facts: dict[str, Any] = {name: row[name] for name in names.split()}
        return cls(**facts, state=State(row["status"]), done_before=done_before)


async def reclaim(connection: AsyncConnection, checkpoint: Checkpoint, run_id: str) -> Checkpoint:
    """Read the checkpoint again after the connection was lost, and raise the fence.

    Raises:
        BatchTakenOver: Another run has claimed the batch meanwhile.
    """
    # It is unknown whether the last commit on the lost connection was made. FOR UPDATE waits for a
    # transaction that the server still has open on that connection, so the row is final when it is
    # read. The higher fence rejects statements that the old connection might still send.
    query = select(batches).where(batches.c.id == checkpoint.id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["run_id"] != run_id or State(row["status"]) in ENDED - {State.FINISHED}:
        raise taken_over(checkpoint)
    # A finished batch is accepted above: the last commit on the lost connection may have been made.
    fence = row["fence"] + 1
    raised = update(batches).where(batches.c.id == checkpoint.id)
    await connection.execute(raised.values(fence=fence, heartbeat_at=datetime.now(UTC)))
    return replace(Checkpoint.of_row(row, checkpoint.done_before), fence=fence)


async def save(
    connection: AsyncConnection, checkpoint: Checkpoint, step: StepResult, *, durable: bool = True
) -> Checkpoint:
    """Save the checkpoint of a batch of rows, in the transaction that processed them.

    Args:
        connection: In that transaction.
        checkpoint: The last saved checkpoint.
        step: The batch of rows since then.
        durable: Whether the commit waits until it is on the disk; the last commit always waits.

    Raises:
        BatchTakenOver: Another run has claimed the batch; the transaction must be rolled back.
    """
    # A step without a key keeps the cursor: it was the last one, or some rows that share the next
    # value are left.
    after = replace(
        checkpoint,
        cursor=checkpoint.cursor if step.key is None else encode(step.key),
        rows_done=checkpoint.rows_done + step.done,
        rows_changed=checkpoint.rows_changed + step.changed,
        run_rows=checkpoint.run_rows + step.changed,
        errors=checkpoint.errors + step.errors,
        state=State.FINISHED if step.last else State.RUNNING,
    )
    return await write(connection, after, durable=durable or step.last)


async def write(
    connection: AsyncConnection,
    new: Checkpoint,
    *,
    note: str = "",
    exit_code: int | None = None,
    durable: bool = True,
) -> Checkpoint:
    """Write a checkpoint if its fence is current, and read the request of an operator.

    Args:
        connection: In the transaction that processes the rows.
        new: The checkpoint to save.
        note: What the batch waits for, or why it stopped.
        exit_code: Exit code of the error that stopped it.
        durable: Whether the commit waits until it is on the disk; on SQLite it always waits.

    Raises:
        BatchTakenOver: The fence is not current: another run has claimed the batch.
    """
    now = datetime.now(UTC)
    values = {
        "cursor": new.cursor,
        "rows_done": new.rows_done,
        "rows_changed": new.rows_changed,
        "run_rows": new.run_rows,
        "errors": new.errors,
        "status": new.state.value,
        "note": note,
        "exit_code": exit_code,
        "heartbeat_at": now,
        "finished_at": now if new.state in ENDED else None,
    }
    own_row = {_ID.key: new.id, _FENCE.key: new.fence}
    waits = durable or connection.dialect.name == "sqlite"
    statement = _WRITE if waits else _WRITE_WITHOUT_WAITING
    requested = (await connection.execute(statement, values | own_row)).scalar_one_or_none()
    if requested is None:
        raise taken_over(new)
    return replace(new, requested=requested)


async def write_total(connection: AsyncConnection, checkpoint: Checkpoint, left: int) -> None:
    """Write the estimated total number of rows."""
    total = checkpoint.rows_done + left
    await connection.execute(
        update(batches).where(batches.c.id == checkpoint.id).values(total=total)
    )


def taken_over(checkpoint: Checkpoint) -> BatchTakenOver:
    """Return the error for a batch that this run no longer has."""
    return BatchTakenOver(
        f"another run has taken over the batch {checkpoint.id}, or an operator has cancelled it",
        why=f"this run stopped; its committed rows are kept "
        f"({counted(checkpoint.run_rows, 'row')})",
        try_=f"python manage.py batch show {checkpoint.id}",
    )


async def cancel_unfinished(
    connection: AsyncConnection, batch_id: str, note: str, *, fence: int | None = None
) -> None:
    """Cancel a batch and its shards, except those that have ended.

    Args:
        connection: In a transaction, which the caller commits.
        batch_id: Id of the batch.
        note: The reason, for `batch show`.
        fence: Cancel only the batch, and only if it still has this fence. If it has another, a run
            has claimed it since, and reads the request itself.
    """
    if fence is None:
        which = or_(batches.c.id == batch_id, batches.c.parent == batch_id)
    else:
        which = and_(batches.c.id == batch_id, batches.c.fence == fence)
    ended = {"status": State.CANCELLED.value, "finished_at": datetime.now(UTC), "note": note}
    unfinished = update(batches).where(which, batches.c.finished_at.is_(None))
    await connection.execute(unfinished.values(ended))
