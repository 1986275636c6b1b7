"""The checkpoint of a batch: who works at it, and how far it has come.

A run claims the checkpoint, which makes its fence one higher, and then saves each batch in the
transaction that does the rows, only where the fence is still its own. Whatever happens to a run or
to its connection, the rows and the checkpoint are both there or both not, and of two runs that
believe a batch is theirs only the later one can save anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, func, insert, or_, select, update

from oneoff.audit import reconcile
from oneoff.batching.cursor import encode
from oneoff.batching.states import ENDED, IDLE, UNTOLD, State
from oneoff.counted import counted
from oneoff.errors import TemporaryError, UsageError
from oneoff.outcome import Status
from oneoff.schema.tables import batches, runs

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.batching.identity import Identity
    from oneoff.batching.selection import Step
    from oneoff.resources.database import Database


class BatchTakenOver(TemporaryError):
    """Another run has claimed the batch; this one stops, and saves nothing more."""

    code = "batch-taken-over"


class BatchRunning(TemporaryError):
    """Another run works at the same batch now.

    Args:
        command: Whose batch it is.
        run_id: The other run.
        whose: Its operator, and where: "ada on shop-1".
        paused: It waits until it is told to go on.
    """

    code = "batch-running"

    def __init__(self, command: str, run_id: str, whose: str, *, paused: bool = False) -> None:
        does = "is paused" if paused else "runs already"
        super().__init__(
            f"{command} {does} with these arguments: run {run_id}, by {whose}",
            why="two runs of one batch would only take it from each other",
            try_=f"python manage.py batch {'resume' if paused else 'show'} {run_id}",
        )
        self.run_id = run_id


_ID, _FENCE = bindparam("of_id", type_=String), bindparam("of_fence", type_=Integer)
# Built once: it is a part of every batch, however small.
_WRITE = (
    update(batches)
    .where(batches.c.id == _ID, batches.c.fence == _FENCE)
    .returning(batches.c.requested)
)


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
        errors: Rows left out, by all runs.
        requested: What an operator asks of the run: "pause", "cancel", or nothing.
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


async def claim(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    *,
    new_run: bool = False,
    shards: int = 0,
    beside_workers: bool = False,
) -> Checkpoint:
    """Make the batch this run's own: the unfinished one with this identity, or a new one.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is the one that claims.
        identity: Which batch.
        new_run: Give an unfinished one up, and begin again.
        shards: Into how many it is cut; 0 for not at all.
        beside_workers: Others may work at its shards.

    Raises:
        BatchRunning: Another run works at it.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await reconcile(connection, database)
    row = await find_current(connection, identity, lock=True)
    if row is None:
        return await begin(connection, identity, database.run_id, shards=shards)
    if not (identity.once and row["finished_at"]):
        await refuse_while_running(connection, row, database.run_id)
    if row["shards"] and (new_run or not beside_workers):
        await refuse_while_shards_run(connection, row, database.run_id)
    if new_run:
        if row["finished_at"] is None:
            await give_up(connection, row["id"], f"begun again by run {database.run_id}")
        return await begin(connection, identity, database.run_id, shards=shards)
    check_shards(row, shards)
    return await take(connection, row, database.run_id)


async def reclaim(connection: AsyncConnection, mine: Checkpoint, run_id: str) -> Checkpoint:
    """Read the checkpoint again after the connection broke, and raise the fence.

    It waits for a commit that is still under way on the broken connection, and shuts out whatever
    else may come from there.

    Raises:
        BatchTakenOver: Another run has claimed it meanwhile.
    """
    query = select(batches).where(batches.c.id == mine.id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["run_id"] != run_id or State(row["status"]) in ENDED - {State.FINISHED}:
        raise taken_over(mine)
    fence = row["fence"] + 1
    await connection.execute(_of(mine.id).values(fence=fence, heartbeat_at=datetime.now(UTC)))
    return replace(Checkpoint.of_row(row, mine.began), fence=fence)


async def save(connection: AsyncConnection, mine: Checkpoint, step: Step) -> Checkpoint:
    """Write down that a batch is done, in the transaction that does it.

    Raises:
        BatchTakenOver: The batch is another run's now; the transaction must be rolled back.
    """
    after = replace(
        mine,
        cursor=mine.cursor if step.key is None else encode(step.key),
        rows_done=mine.rows_done + step.done,
        rows_changed=mine.rows_changed + step.changed,
        run_rows=mine.run_rows + step.changed,
        errors=mine.errors + step.errors,
        state=State.FINISHED if step.last else State.RUNNING,
    )
    return await write(connection, after)


async def write(
    connection: AsyncConnection, new: Checkpoint, *, note: str = "", exit_code: int | None = None
) -> Checkpoint:
    """Write a checkpoint where the fence is its own, and read what operators ask for.

    Args:
        connection: In the transaction that does the rows.
        new: What is to be saved.
        note: What it waits for, or why it stopped.
        exit_code: Of the error that stopped it.

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
    mine = {_ID.key: new.id, _FENCE.key: new.fence}
    requested = (await connection.execute(_WRITE, values | mine)).scalar_one_or_none()
    if requested is None:
        raise taken_over(new)
    return replace(new, requested=requested)


async def write_total(connection: AsyncConnection, mine: Checkpoint, left: int) -> None:
    """Write down about how many rows there are in all."""
    await connection.execute(_of(mine.id).values(total=mine.rows_done + left))


def taken_over(mine: Checkpoint) -> BatchTakenOver:
    """Return the error for a batch that is not this run's any more."""
    return BatchTakenOver(
        f"another run has taken the batch {mine.id} over, or an operator has given it up",
        why=f"this run stopped; what it changed is saved ({counted(mine.run_rows, 'row')})",
        try_=f"python manage.py batch show {mine.id}",
    )


async def find_current(
    connection: AsyncConnection, identity: Identity, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of the batch that a run with this identity goes on with.

    It is the unfinished one, or one that is finished though nobody was told: its run was killed
    after the last commit, or has not ended yet. To begin again there would do every row twice. One
    that has a name of its own (`--once`) is not begun again at all.
    """
    mine = batches.c.key == identity.key
    unfinished = select(batches).where(mine, batches.c.finished_at.is_(None))
    found = await connection.execute(unfinished.with_for_update() if lock else unfinished)
    row = found.mappings().one_or_none()
    if row is not None:
        return row
    newest = select(batches, runs.c.status.label("run_status")).outerjoin(
        runs, runs.c.id == batches.c.run_id
    )
    newest = newest.where(mine).order_by(batches.c.finished_at.desc()).limit(1)
    last = (await connection.execute(newest)).mappings().one_or_none()
    if last is None or State(last["status"]) is not State.FINISHED:
        return None
    return last if last["run_status"] in UNTOLD or identity.once else None


def _of(batch_id: str) -> Update:
    return update(batches).where(batches.c.id == batch_id)


async def refuse_while_running(connection: AsyncConnection, row: RowMapping, run_id: str) -> None:
    """Refuse a batch at which a living run works; `reconcile` has closed the dead ones.

    Raises:
        BatchRunning: One does.
    """
    if State(row["status"]) in IDLE or row["run_id"] == run_id:
        return
    about = select(runs.c.status, runs.c.operator, runs.c.host).where(runs.c.id == row["run_id"])
    holder = (await connection.execute(about)).one_or_none()
    if holder is None or holder.status != Status.STARTED.value:
        return
    raise BatchRunning(
        row["command"],
        row["run_id"],
        f"{holder.operator} on {holder.host}",
        paused=State(row["status"]) is State.PAUSED,
    )


async def refuse_while_shards_run(
    connection: AsyncConnection, whole: RowMapping, run_id: str
) -> None:
    """Refuse a whole while living runs work at its shards."""
    of_whole = select(batches).where(batches.c.parent == whole["id"])
    found = await connection.execute(of_whole.where(batches.c.finished_at.is_(None)))
    for row in found.mappings().all():
        await refuse_while_running(connection, row, run_id)


def check_shards(row: RowMapping, shards: int) -> None:
    """Refuse to go on with a batch that was cut otherwise.

    Raises:
        UsageError: `batch-shards`.
    """
    if row["shards"] == shards:
        return
    begun = f"with --shards {row['shards']}" if row["shards"] else "without --shards"
    raise UsageError(
        f"the unfinished batch {row['id']} was begun {begun}: that is how it goes on",
        try_=(f"the same command {begun} goes on with it", "--new-run begins again"),
        code="batch-shards",
    )


async def give_up(connection: AsyncConnection, batch_id: str, note: str) -> None:
    """Cancel a batch with its shards, as far as they are unfinished."""
    mine = or_(batches.c.id == batch_id, batches.c.parent == batch_id)
    ended = {"status": State.CANCELLED.value, "finished_at": datetime.now(UTC), "note": note}
    unfinished = update(batches).where(mine, batches.c.finished_at.is_(None))
    await connection.execute(unfinished.values(ended))


async def begin(
    connection: AsyncConnection, identity: Identity, run_id: str, *, shards: int = 0
) -> Checkpoint:
    """Begin a batch. A second run that does the same at this moment gets an IntegrityError."""
    now = datetime.now(UTC)
    values = {
        "id": f"{run_id}.{identity.part}" if identity.part else run_id,
        "key": identity.key,
        "command": identity.command,
        "arguments": identity.arguments,
        "part": identity.part,
        "shards": shards,
        "status": State.RUNNING.value,
        "run_id": run_id,
        "fence": 1,
        "started_at": now,
        "heartbeat_at": now,
    }
    row = await connection.execute(insert(batches).values(values).returning(batches))
    return Checkpoint.of_row(row.mappings().one(), began=0)


async def take(
    connection: AsyncConnection, found: RowMapping, run_id: str, *, requested: str = ""
) -> Checkpoint:
    """Make a batch this run's own, and raise its fence.

    Args:
        connection: In a transaction, in which the row is locked.
        found: The row.
        run_id: Whose it is from now on.
        requested: What operators ask of the batch whose shard it is.
    """
    # What the run before saved is put into its own record, which is still open if it was killed.
    await connection.execute(
        update(runs)
        .where(runs.c.id == found["run_id"], runs.c.finished_at.is_(None))
        .values(rows=func.coalesce(runs.c.rows, 0) + found["run_rows"])
    )
    taken = _of(found["id"]).values(
        run_id=run_id,
        fence=found["fence"] + 1,
        run_rows=0,
        status=State.RUNNING.value if found["finished_at"] is None else State.FINISHED.value,
        requested=requested,
        note="",
        exit_code=None,
        heartbeat_at=datetime.now(UTC),
    )
    row = (await connection.execute(taken.returning(batches))).mappings().one()
    return Checkpoint.of_row(row, began=row["rows_done"])
