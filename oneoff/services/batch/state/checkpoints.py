"""Save the checkpoint of a batch: which run works on it, and how far it has come.

A run claims the checkpoint, which adds one to its fence. It then saves each batch of rows in the
transaction that processes them, with an UPDATE that matches only its own fence. So whatever happens
to a run or its connection, the rows and the checkpoint are committed together or not at all; and of
two runs that both believe they have the batch, only the later one can commit anything.
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
    """The states of a batch. A run that claims it makes it `running`, whatever it was."""

    WAITING = "waiting"
    """A shard that no run has claimed yet."""
    RUNNING = "running"
    """A run works on it; or it was killed, and the next run with the same arguments resumes."""
    PAUSED = "paused"
    """A run has it, and waits for `batch resume`."""
    STOPPED = "stopped"
    """A bound, a signal or an error ended the run; the next one resumes."""
    FINISHED = "finished"
    """All rows are done."""
    CANCELLED = "cancelled"
    """An operator cancelled it, or began it again with `--new-run`."""


ENDED = frozenset({State.FINISHED, State.CANCELLED})
"""Final states: the next run with the same arguments begins a new batch."""

IDLE = frozenset({State.WAITING, State.STOPPED})
"""In these no run works on it, whatever became of the run that had it."""

UNREPORTED = frozenset({Status.STARTED.value, Status.ABANDONED.value})
"""A run with such a status has not reported what it finished: it still runs, or was killed."""


class BatchTakenOver(TemporaryError):
    """Another run has claimed the batch; this one stops, and saves nothing more."""

    code = "batch-taken-over"


_ID, _FENCE = bindparam("of_id", type_=String), bindparam("of_fence", type_=Integer)
# Built once: every batch has it, however small. The condition on the fence is what keeps out a run
# that lost its batch: it updates no row, and gets none back. RETURNING also brings what an operator
# requests, so that asking for it takes no round trip of its own.
_WRITE = (
    update(batches)
    .where(batches.c.id == _ID, batches.c.fence == _FENCE)
    .returning(batches.c.requested)
)
# Turns off, for this transaction, the wait for the disk at its commit; in the same statement, since
# a SET LOCAL would be one more round trip. A crash of the server may then undo the transaction, the
# rows together with the checkpoint. The next commit that waits, whoever makes it, makes it durable.
_SYNCHRONOUS_COMMIT_OFF = func.set_config("synchronous_commit", "off", true())
_WRITE_WITHOUT_WAITING = _WRITE.returning(_SYNCHRONOUS_COMMIT_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A batch as this run saved it last.

    Attributes:
        id: The run that began it, and the part.
        fence: Of this claim.
        cursor: JSON of the last key that is done; None before the first.
        rows_done: Rows gone through, by all runs.
        rows_changed: Rows changed, by all runs.
        run_rows: Rows changed by this run.
        errors: Rows rejected, by all runs.
        requested: What an operator requests of the run: "pause", "cancel", or nothing.
        state: See `State`.
        started_at: When its first run began it.
        began: Rows that were done when this run claimed it.
        parent: Id of the batch whose shard it is; empty for a batch of its own.
        shards: Into how many it was cut; 0 for not at all.
        total: About how many rows there were when it was claimed last; None for unknown.
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
    began: int
    parent: str
    shards: int
    total: int | None

    @property
    def done_by_run(self) -> int:
        """Rows this run has gone through."""
        return self.rows_done - self.began

    @classmethod
    def of_row(cls, row: RowMapping, began: int) -> Checkpoint:
        """Return what a row of the table says."""
        names = (
            "id fence cursor rows_done rows_changed run_rows errors requested started_at parent "
            "shards total"
        )
        facts: dict[str, Any] = {name: row[name] for name in names.split()}
        return cls(**facts, state=State(row["status"]), began=began)


async def reclaim(connection: AsyncConnection, checkpoint: Checkpoint, run_id: str) -> Checkpoint:
    """Read the checkpoint again after the connection broke, and raise the fence.

    Nobody knows whether the last commit on the broken connection was made. The lock waits for a
    transaction that the server still has open there, so the row read then is final; and the higher
    fence keeps out anything that the old connection might still send.

    Raises:
        BatchTakenOver: Another run has claimed it meanwhile.
    """
    query = select(batches).where(batches.c.id == checkpoint.id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["run_id"] != run_id or State(row["status"]) in ENDED - {State.FINISHED}:
        raise taken_over(checkpoint)
    fence = row["fence"] + 1
    raised = update(batches).where(batches.c.id == checkpoint.id)
    await connection.execute(raised.values(fence=fence, heartbeat_at=datetime.now(UTC)))
    return replace(Checkpoint.of_row(row, checkpoint.began), fence=fence)


async def save(
    connection: AsyncConnection, checkpoint: Checkpoint, step: StepResult, *, durable: bool = True
) -> Checkpoint:
    """Save that a batch of rows is done, in the transaction that did them.

    Args:
        connection: In that transaction.
        checkpoint: What was saved last.
        step: What was done since.
        durable: Whether the commit waits until it is on the disk, as the last one always does.

    Raises:
        BatchTakenOver: The batch is another run's now; the transaction must be rolled back.
    """
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
    """Write a checkpoint under its own fence, and read what operators request.

    Args:
        connection: In the transaction that processes the rows.
        new: What is to be saved.
        note: What it waits for, or why it stopped.
        exit_code: Of the error that stopped it.
        durable: Whether the commit waits until it is on the disk; that of SQLite always does.

    Raises:
        BatchTakenOver: The fence is another run's.
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
    """Write the estimate of how many rows there are in all."""
    total = checkpoint.rows_done + left
    await connection.execute(
        update(batches).where(batches.c.id == checkpoint.id).values(total=total)
    )


def taken_over(checkpoint: Checkpoint) -> BatchTakenOver:
    """Return the error for a batch that is not this run's any more."""
    return BatchTakenOver(
        f"another run has taken the batch {checkpoint.id} over, or an operator has given it up",
        why=f"this run stopped; what it changed is saved ({counted(checkpoint.run_rows, 'row')})",
        try_=f"python manage.py batch show {checkpoint.id}",
    )


async def cancel_unfinished(
    connection: AsyncConnection, batch_id: str, note: str, *, fence: int | None = None
) -> None:
    """Cancel a batch and its shards, except those that have ended.

    Args:
        connection: In a transaction, which the caller commits.
        batch_id: Its id.
        note: Why, for `batch show`.
        fence: Cancel the batch alone, and only if no run has claimed it since it had this fence. A
            run that has claimed it finds out by itself what was requested.
    """
    if fence is None:
        which = or_(batches.c.id == batch_id, batches.c.parent == batch_id)
    else:
        which = and_(batches.c.id == batch_id, batches.c.fence == fence)
    ended = {"status": State.CANCELLED.value, "finished_at": datetime.now(UTC), "note": note}
    unfinished = update(batches).where(which, batches.c.finished_at.is_(None))
    await connection.execute(unfinished.values(ended))
