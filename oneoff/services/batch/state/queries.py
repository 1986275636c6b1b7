"""Read batches, each with the run that works on it or last worked on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, literal, select, union_all

from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.services.batch.rows.ranges import restored
from oneoff.services.batch.state.checkpoints import ENDED, IDLE, UNREPORTED, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.batch.command import BatchRange
    from oneoff.services.batch.rows.selection import Selection
    from oneoff.services.batch.state.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard, as its row stores it.

    Attributes:
        id: The id of the parent batch, and the part.
        parent: Id of the parent batch.
        part: "3/8".
        limits: Its range; None for a range without rows.
        state: See `State`.
        active: Whether a run works on it that is not known to be dead.
        fence: How often it was claimed.
        rows_done: Rows processed by all runs.
        rows_changed: Rows changed by all runs.
        errors: Rows rejected.
        note: Why it stopped.
        exit_code: Exit code of the error that stopped it.
    """

    id: str
    parent: str
    part: str
    limits: BatchRange | None
    state: State
    active: bool
    fence: int
    rows_done: int
    rows_changed: int
    errors: int
    note: str
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Whether it is finished or cancelled."""
        return self.state in ENDED


def with_run() -> Select[Any]:
    """Select batches with the status, operator, host and argv of their run, as `run_status` etc."""
    of_run = [runs.c[name].label(f"run_{name}") for name in ("status", "operator", "host", "argv")]
    return select(batches, *of_run).outerjoin(runs, runs.c.id == batches.c.run_id)


def is_active(row: Mapping[Any, Any]) -> bool:
    """Return whether an active run works on the batch.

    Args:
        row: From `with_run`. Call `close_abandoned` before reading it: until then, a killed run
            still has the status `started`.
    """
    return State(row["status"]) not in IDLE | ENDED and row["run_status"] == Status.STARTED.value


async def find_current(
    connection: AsyncConnection, identity: Identity, *, shard_number: int = 0, lock: bool = False
) -> RowMapping | None:
    """Return the row of the batch that a run with this identity resumes; None to start a new one.

    This is the unfinished batch. If there is none, it is the newest batch, if it is finished but
    its run has not reported that: the run was killed after the last commit, or is still ending.
    Starting a new batch then would process every row twice. A finished batch that was named with
    `--once` is always returned, so it is never started again.

    Args:
        connection: For reading.
        identity: Identity of the batch.
        shard_number: The one shard that the run is for; 0 for all. For one shard, the run of this
            shard counts, since each shard of the batch may have its own run.
        lock: Whether to lock an unfinished batch until the transaction ends.
    """
    same_batch = batches.c.key == identity.key
    # Not `with_run`: PostgreSQL refuses FOR UPDATE on the nullable side of an outer join.
    unfinished = select(batches).where(same_batch, batches.c.finished_at.is_(None))
    found = await connection.execute(unfinished.with_for_update() if lock else unfinished)
    row = found.mappings().one_or_none()
    if row is not None:
        return row
    last = await find_newest(connection, identity)
    if last is None or State(last["status"]) is not State.FINISHED:
        return None
    if shard_number and not last["shards"]:
        return None  # the finished batch had no shards, so `--shard` starts a new one
    if identity.once:
        return last
    status = last["run_status"]
    if shard_number:
        rows = await shard_rows(connection, last["id"], part=f"{shard_number}/{last['shards']}")
        # Without a row, the finished batch had fewer shards, so `--shard` starts a new one.
        status = rows[0]["run_status"] if rows else None
    return last if status in UNREPORTED else None


async def parts_to_run(
    connection: AsyncConnection, name: str, selections: Mapping[str, Selection]
) -> set[str]:
    """Return the parts that have rows to process or a batch to resume; sends one query.

    Args:
        connection: For reading.
        name: The command of the batches.
        selections: The rows of each part.
    """
    resumed = batches.c.finished_at.is_(None) | runs.c.status.in_(UNREPORTED)
    parts = select(batches.c.part).outerjoin(runs, runs.c.id == batches.c.run_id)
    with_rows = [
        select(literal(part, String)).where(selection.keys(None).exists())
        for part, selection in selections.items()
    ]
    found = union_all(parts.where(batches.c.command == name, resumed), *with_rows)
    return set((await connection.scalars(found)).all())


async def find_newest(connection: AsyncConnection, identity: Identity) -> RowMapping | None:
    """Return the unfinished batch with this identity, or the one that ended last, as `with_run`."""
    newest = with_run().where(batches.c.key == identity.key)
    # The unfinished one first: PostgreSQL and SQLite sort NULL differently.
    newest = newest.order_by(batches.c.finished_at.is_(None).desc(), batches.c.finished_at.desc())
    row: RowMapping | None
    row = (await connection.execute(newest.limit(1))).mappings().one_or_none()
    return row


async def read_shards(
    connection: AsyncConnection, parent_id: str, *, part: str = ""
) -> list[Shard]:
    """Return the shards of a batch in order, or only the shard with this part."""
    return [_shard_of(row) for row in await shard_rows(connection, parent_id, part=part)]


async def shard_rows(
    connection: AsyncConnection, parent_id: str, *, part: str = "", unfinished: bool = False
) -> list[RowMapping]:
    """Return the shards of a batch as rows of `with_run`, or only the unfinished ones."""
    query = with_run().where(batches.c.parent == parent_id)
    if part:
        query = query.where(batches.c.part == part)
    if unfinished:
        query = query.where(batches.c.finished_at.is_(None))
    found = (await connection.execute(query)).mappings().all()
    # Sorted by number: as texts, "10/12" comes before "2/12".
    return sorted(found, key=lambda row: int(row["part"].partition("/")[0]))


async def read_with_parent(connection: AsyncConnection, shard_id: str) -> tuple[RowMapping, Shard]:
    """Return the row of the parent batch of a shard, and the shard."""
    query = with_run().where(batches.c.id == shard_id)
    row = (await connection.execute(query)).mappings().one()
    parent = select(batches).where(batches.c.id == row["parent"])
    return (await connection.execute(parent)).mappings().one(), _shard_of(row)


def _shard_of(row: RowMapping) -> Shard:
    names = "id parent part fence rows_done rows_changed errors note exit_code".split()
    facts: dict[str, Any] = {name: row[name] for name in names}
    return Shard(
        **facts,
        limits=restored(row["low"], row["high"]),
        state=State(row["status"]),
        active=is_active(row),
    )
