"""Read what the record shows of admin tasks: their runs, and the state that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select

from oneoff.core.outcome import Status
from oneoff.database.tables import runs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.services.tasks.catalogue import Entry

MOST_RUNS = 20  # of one task in its execution log


class State(Enum):
    """The state of a task in this database."""

    DRAFT = "draft"
    """It has not been run yet."""
    APPROVED = "approved"
    """A second person has approved a run, which was not started yet."""
    EXECUTED = "executed"
    REVERTED = "reverted"
    """Its rollback has changed something since it was last run."""


class Summary(NamedTuple):
    """The state of a task, and when it last succeeded; None if it never did."""

    state: State
    executed_at: datetime | None


async def summaries(
    session: AsyncSession,
    entries: Sequence[tuple[Entry, Entry | None]],
    approved: Mapping[str, datetime],
) -> dict[str, Summary]:
    """Return the summaries of tasks by their ids, in one query for all runs.

    Args:
        session: The session to query with.
        entries: The tasks, each with the task that its rollback runs.
        approved: When tasks were approved, from `approved_at`.
    """
    if not entries:
        return {}
    newest: list[Any] = []
    for entry, undo in entries:
        newest.append(_newest(entry, Status.SUCCEEDED, Status.UNCHANGED))
        # A task that is its own rollback, as a new role for a user, is never shown as reverted.
        is_other = undo is not None and undo.task.id != entry.task.id
        newest.append(_newest(undo, Status.SUCCEEDED) if undo and is_other else None)
    columns = [one.label(f"c{at}") for at, one in enumerate(newest) if one is not None]
    row = (await session.execute(select(*columns))).mappings().one()
    found = [row.get(f"c{at}") for at in range(len(newest))]
    times = zip(found[::2], found[1::2], strict=True)
    return {
        entry.task.id: Summary(_state(executed, reverted, approved.get(entry.task.id)), executed)
        for (entry, _), (executed, reverted) in zip(entries, times, strict=True)
    }


async def execution_log(session: AsyncSession, entry: Entry) -> list[Mapping[str, Any]]:
    """Return the newest runs of a task, newest first, without those of its shards."""
    query = (
        select(
            runs.c.started_at.label("when"),
            runs.c.operator.label("who"),
            runs.c.exit_code,
            runs.c.rows,
            runs.c.status,
            runs.c.dry_run,
            runs.c.duration_ms,
            runs.c.environment,
            runs.c.id.label("run_id"),
            runs.c.ticket,
            runs.c.reason,
            runs.c.message.label("output"),
        )
        .where(*_is_run_of(entry))
        .order_by(runs.c.started_at.desc(), runs.c.id.desc())
        .limit(MOST_RUNS)
    )
    return [dict(row) for row in (await session.execute(query)).mappings()]


def _state(
    executed: datetime | None, reverted: datetime | None, approved: datetime | None
) -> State:
    if approved is not None and (executed is None or approved > executed):
        return State.APPROVED
    if executed is None:
        return State.DRAFT
    return State.REVERTED if reverted is not None and reverted > executed else State.EXECUTED


def _newest(entry: Entry, *states: Status) -> Any:
    ended = [state.value for state in states]
    real = (*_is_run_of(entry), runs.c.dry_run.is_(False), runs.c.status.in_(ended))
    return select(func.max(runs.c.started_at)).where(*real).scalar_subquery()


def _is_run_of(entry: Entry) -> list[ColumnElement[bool]]:
    """Return the conditions for the runs of a task; a transform is chosen by its words."""
    conditions = [runs.c.command == entry.name, runs.c.parent == ""]
    if entry.words:
        revert = runs.c.argv.contains('"--revert"')
        conditions.append(revert if "--revert" in entry.words else ~revert)
        # `argv` is a JSON list, so a whole word is in quotes.
        conditions += [runs.c.argv.contains(f'"{word}"', autoescape=True) for word in entry.words]
    return conditions
