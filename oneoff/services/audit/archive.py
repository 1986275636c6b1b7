"""Move old audit events, and the runs that they belong to, from the database to a file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from oneoff.core.outcome import Status
from oneoff.database.tables import audit, batches, runs, shell_inputs
from oneoff.runtime.audit.chain import add_event, changeable_events
from oneoff.services.audit.export import Written, write_events
from oneoff.services.audit.reviews import owes_review
from oneoff.services.audit.verify import read_began, read_newest_archive
from oneoff.services.batch.state.checkpoints import UNREPORTED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.terminal import Terminal


class Plan(NamedTuple):
    """The events to move: a beginning of the chain.

    Attributes:
        events: Their number; 0 if there is nothing to move.
        last: The number of the last one.
        runs: The number of runs that they belong to.
    """

    events: int
    last: int
    runs: int


async def plan_archive(connection: AsyncConnection, before: datetime) -> Plan:
    """Return which events can be moved.

    They are the oldest ones. All events of a run are moved, or none. A run stays if it started or
    ended after `before`, is open, or owes a review.
    """
    stays = or_(
        runs.c.status == Status.STARTED.value,
        runs.c.started_at >= before,
        runs.c.finished_at >= before,
        owes_review(),
    )
    of_those = audit.c.run_id.in_(select(runs.c.id).where(stays))
    last = await _before(connection, of_those)
    # A review is a later event of an old run: such a run is moved with the review.
    while True:
        span = select(audit.c.run_id, func.min(audit.c.seq).label("first")).where(
            audit.c.run_id != ""
        )
        split = span.group_by(audit.c.run_id).having(
            func.min(audit.c.seq) <= last, func.max(audit.c.seq) > last
        )
        first = await connection.scalar(select(func.min(split.subquery().c.first)))
        if first is None:
            break
        last = first - 1
    moved = audit.c.seq <= last
    counts = select(
        func.count(), func.count(audit.c.run_id.distinct()).filter(audit.c.run_id != "")
    )
    events, of_runs = (await connection.execute(counts.where(moved))).one()
    return Plan(events, last, of_runs) if of_runs else Plan(0, 0, 0)


async def archive(
    connection: AsyncConnection, plan: Plan, path: str, terminal: Terminal, run_id: str
) -> Written:
    """Write the events to a file, and delete them and their runs in the caller's transaction.

    The event that says so holds the last of their hashes, so that the rest of the chain can still
    be verified. A killed run that may have to report the end of a batch keeps its row.

    Args:
        connection: A connection in the transaction.
        plan: From `plan_archive`, in the same transaction.
        path: The file, which must not exist.
        terminal: The terminal of the run.
        run_id: The run that moves them.
    """
    last_hash = await connection.scalar(select(audit.c.hash).where(audit.c.seq == plan.last))
    moved = audit.c.seq <= plan.last
    # A run from before the chain has no `intended` event, so its row is the only record of it.
    of_plan = select(audit.c.run_id).where(moved, audit.c.kind == "intended")
    unreported = exists().where(
        batches.c.run_id == runs.c.id, runs.c.status.in_(sorted(UNREPORTED))
    )
    before = await read_newest_archive(connection)
    earlier = before["kept"] if before else ()
    stays = or_(and_(runs.c.id.in_(of_plan), unreported), runs.c.id.in_(earlier))
    kept = (await connection.scalars(select(runs.c.id).where(stays))).all()
    began = await read_began(connection, before)
    # A role that is not the owner fails here, before there is a file. The rollback releases the
    # lock on the table, for which other runs would wait while the file is written.
    attempt = await connection.begin_nested()
    async with changeable_events(connection):
        pass
    await attempt.rollback()
    written = await write_events(connection, terminal, path, until=plan.last)
    await connection.execute(delete(runs).where(runs.c.id.in_(of_plan), ~stays))
    await connection.execute(delete(shell_inputs).where(shell_inputs.c.run_id.in_(of_plan)))
    async with changeable_events(connection):
        await connection.execute(delete(audit).where(moved))
    facts = {
        "run_id": run_id,
        "at": datetime.now(UTC),
        "began": began,
        "last_seq": plan.last,
        "last_hash": last_hash,
        "events": written.events,
        "file": os.path.basename(path),
        "sha256": written.sha256,
        "kept": sorted(kept),
    }
    await add_event(connection, "archived", facts)
    return written


async def _before(connection: AsyncConnection, stays: ColumnElement[bool]) -> int:
    """Return the number of the event before the first one that stays."""
    first = await connection.scalar(select(func.min(audit.c.seq)).where(stays))
    newest = await connection.scalar(select(func.max(audit.c.seq)))
    return (first - 1 if first else newest) or 0


def summary(plan: Plan) -> dict[str, Any]:
    """Return the numbers of a plan, for the result of a command."""
    return {"events": plan.events, "runs": plan.runs, "last_event": plan.last}
