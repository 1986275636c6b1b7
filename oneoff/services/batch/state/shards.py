"""The shards of a batch: rows of their own below the batch's, which is then called the whole.

The run that begins the whole cuts it and writes all shards down in one transaction, so that every
later run works with the same ranges. Each shard is claimed, fenced and saved as any batch is.
Whoever finishes the last one closes the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.runtime.audit.record import reconcile
from oneoff.services.batch.command import BatchRange
from oneoff.services.batch.rows import ranges
from oneoff.services.batch.rows.estimate import estimate
from oneoff.services.batch.state import checkpoints, claims
from oneoff.services.batch.state.checkpoints import ENDED, IDLE, UNREPORTED, Checkpoint, State
from oneoff.services.batch.state.identity import Identity
from oneoff.services.batch.state.reverts import cancel_reverted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database
    from oneoff.services.batch.rows.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard as the table has it.

    Attributes:
        id: That of the whole, and the part.
        part: "3/8".
        limits: Its range; None for no rows.
        state: See `State`.
        at_work: A run that is not known to be dead works at it.
        fence: How often it was claimed.
        rows_done: Rows gone through, by all runs.
        rows_changed: Rows changed, by all runs.
        errors: Rows left out.
        note: Why it stopped.
        exit_code: Of the error that stopped it.
    """

    id: str
    part: str
    limits: BatchRange | None
    state: State
    at_work: bool
    fence: int
    rows_done: int
    rows_changed: int
    errors: int
    note: str
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Whether nothing leads on from there."""
        return self.state in ENDED


async def claim_parent(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    selection: Selection,
    *,
    confirmed: str = "",
) -> Checkpoint:
    """Make the whole this run's own, and cut it if it is new, into as many as its command says.

    Args:
        connection: In a transaction, which the caller commits.
        database: Its run id is the one that claims.
        identity: Which batch.
        selection: Its rows.
        confirmed: The target for which workers may do the shards; empty: this run does them.

    Raises:
        BatchRunning: Another run works at it.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await cancel_reverted(connection, database, identity)
    mine = await claims.claim(
        connection,
        database,
        identity,
        new_run=selection.command.new_run,
        shards=selection.command.shards,
        beside_workers=bool(confirmed),
    )
    if mine.fence == 1:
        await _cut(connection, mine, identity, selection, database.run_id)
    allowed = update(batches).where(batches.c.id == mine.id).values(confirmed=confirmed)
    await connection.execute(allowed)
    return mine


async def join_parent(
    connection: AsyncConnection,
    database: Database,
    identity: Identity,
    selection: Selection,
    *,
    number: int,
    shards: int,
) -> Shard:
    """Return one shard of the unfinished whole, beginning and cutting it if there is none.

    Any number of runs may do that at once: all but one get an IntegrityError, and try again.

    Raises:
        BatchRunning: Another run has finished that shard, and has not ended yet.
        UsageError: `batch-shards`: it was cut into another number.
    """
    await cancel_reverted(connection, database, identity)
    await reconcile(connection, database)
    row = await find_joinable_parent(connection, identity, number)
    if row is not None:
        claims.check_shards(row, shards)
        whole = row["id"]
        if row["finished_at"] and not identity.once:
            await _refuse_while_its_shard_runs(connection, whole, f"{number}/{shards}", database)
    else:
        begun = await claims.begin(connection, identity, database.run_id, shards=shards)
        await _cut(connection, begun, identity, selection, database.run_id)
        whole = begun.id
    return (await read_shards(connection, whole, part=f"{number}/{shards}"))[0]


async def claim_shard(connection: AsyncConnection, database: Database, shard_id: str) -> Checkpoint:
    """Make a shard this run's own; one that has ended stays as it is.

    Raises:
        BatchRunning: Another run works at it.
    """
    await reconcile(connection, database)
    found = await connection.execute(
        select(batches).where(batches.c.id == shard_id).with_for_update()
    )
    row = found.mappings().one()
    if State(row["status"]) in ENDED and not await _was_abandoned(connection, row):
        return replace(Checkpoint.of_row(row, began=row["rows_done"]), run_rows=0)
    await claims.refuse_while_running(connection, row, database.run_id)
    asked = select(batches.c.requested).where(batches.c.id == row["parent"])
    requested = await connection.scalar(asked)
    return await claims.take(connection, row, database.run_id, requested=requested or "")


async def read_shards(connection: AsyncConnection, whole_id: str, *, part: str = "") -> list[Shard]:
    """Return the shards of a whole in order, or the one with that part."""
    return [_of_row(row) for row in await shard_rows(connection, whole_id, part=part)]


async def shard_rows(
    connection: AsyncConnection, whole_id: str, *, part: str = ""
) -> list[RowMapping]:
    """Return the same as rows, each with the status of its run."""
    query = with_run().where(batches.c.parent == whole_id)
    if part:
        query = query.where(batches.c.part == part)
    found = (await connection.execute(query)).mappings().all()
    return sorted(found, key=lambda row: int(row["part"].partition("/")[0]))


async def read_with_parent(connection: AsyncConnection, shard_id: str) -> tuple[RowMapping, Shard]:
    """Return the whole of a shard, and the shard."""
    query = with_run().where(batches.c.id == shard_id)
    row = (await connection.execute(query)).mappings().one()
    whole = select(batches).where(batches.c.id == row["parent"])
    return (await connection.execute(whole)).mappings().one(), _of_row(row)


async def close_parent(
    connection: AsyncConnection, whole_id: str, run_id: str, *, supervised: bool = False
) -> State | None:
    """Close the whole if all of its shards have ended; return what it ended as, or None.

    Workers leave one that is finished to their supervisor: if that was stopped meanwhile, the
    operator who starts it again must be told that all is done, rather than do all rows again.

    In a transaction after the one that ended a shard: of two runs that end the last two at once,
    the second to lock the whole sees what both have done.
    """
    whole = select(batches).where(batches.c.id == whole_id).with_for_update()
    row = (await connection.execute(whole)).mappings().one()
    if State(row["status"]) in ENDED:
        return State(row["status"])
    states = set(
        await connection.scalars(select(batches.c.status).where(batches.c.parent == whole_id))
    )
    if not states <= {state.value for state in ENDED}:
        return None
    given_up = State.CANCELLED.value in states
    ended = State.CANCELLED if given_up else State.FINISHED
    if row["confirmed"] and not (supervised or given_up):
        return None
    now = datetime.now(UTC)
    values = {"status": ended.value, "run_id": run_id, "note": "", "requested": ""}
    closed = update(batches).where(batches.c.id == whole_id)
    await connection.execute(closed.values(**values, finished_at=now, heartbeat_at=now))
    return ended


async def rows_by_run(connection: AsyncConnection, whole_id: str, run_id: str) -> int:
    """Return how many rows of the whole this run has changed."""
    rows = select(func.sum(batches.c.run_rows)).where(
        batches.c.parent == whole_id, batches.c.run_id == run_id
    )
    return int(await connection.scalar(rows) or 0)


async def _cut(
    connection: AsyncConnection,
    whole: Checkpoint,
    identity: Identity,
    selection: Selection,
    run_id: str,
) -> None:
    total = await estimate(connection, selection.keys(None))
    await checkpoints.write_total(connection, whole, total)
    limits = await ranges.cut(connection, selection, whole.shards)
    parts = [f"{number}/{whole.shards}" for number in range(1, whole.shards + 1)]
    now = datetime.now(UTC)
    common = {
        "command": identity.command,
        "arguments": identity.arguments,
        "parent": whole.id,
        "status": State.WAITING.value,
        "run_id": run_id,
        "fence": 0,
        "started_at": whole.started_at,  # ages count from the same moment in all of them
        "heartbeat_at": now,
    }
    rows = [
        {
            **common,
            "id": f"{whole.id}.{part}",
            "key": identity._replace(part=part, parent=whole.id).key,
            "part": part,
            **ranges.stored(each),
        }
        for part, each in zip(parts, limits, strict=True)
    ]
    await connection.execute(insert(batches), rows)


async def find_joinable_parent(
    connection: AsyncConnection, identity: Identity, number: int
) -> RowMapping | None:
    """Return the unfinished whole, or a finished one whose shard nobody was told of.

    That is one whose run was killed after its last commit, or has not ended yet; or the whole has a
    name of its own, and is not begun again.
    """
    mine = batches.c.key == identity.key
    unfinished = select(batches).where(mine, batches.c.finished_at.is_(None))
    row = (await connection.execute(unfinished)).mappings().one_or_none()
    if row is not None:
        return row
    newest = select(batches).where(mine).order_by(batches.c.finished_at.desc()).limit(1)
    last = (await connection.execute(newest)).mappings().one_or_none()
    if last is None or State(last["status"]) is not State.FINISHED or not last["shards"]:
        return None
    part = f"{number}/{last['shards']}"
    query = with_run().where(batches.c.parent == last["id"], batches.c.part == part)
    shard = (await connection.execute(query)).mappings().one()
    return last if identity.once or shard["run_status"] in UNREPORTED else None


async def _refuse_while_its_shard_runs(
    connection: AsyncConnection, whole_id: str, part: str, database: Database
) -> None:
    for row in await shard_rows(connection, whole_id, part=part):
        await claims.refuse_while_running(connection, row, database.run_id)


async def _was_abandoned(connection: AsyncConnection, row: RowMapping) -> bool:
    status = await connection.scalar(select(runs.c.status).where(runs.c.id == row["run_id"]))
    return bool(status == Status.ABANDONED.value)


def with_run() -> Select[Any]:
    """Select batches with the run that works at them, or did so last."""
    of_run = [runs.c[name].label(f"run_{name}") for name in ("status", "operator", "host", "argv")]
    return select(batches, *of_run).outerjoin(runs, runs.c.id == batches.c.run_id)


def _of_row(row: RowMapping) -> Shard:
    state = State(row["status"])
    names = "id part fence rows_done rows_changed errors note exit_code".split()
    facts: dict[str, Any] = {name: row[name] for name in names}
    return Shard(
        **facts,
        limits=ranges.restored(row["low"], row["high"]),
        state=state,
        at_work=state not in IDLE | ENDED and row["run_status"] == Status.STARTED.value,
    )
