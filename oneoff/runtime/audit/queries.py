"""Read the records of runs, for `audit list` and `audit show`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, or_, select

from oneoff.core.errors import NotFound, UsageError
from oneoff.database.tables import audit, runs, shell_inputs
from oneoff.utils.hash_chain import read_event
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, RowMapping
    from sqlalchemy.ext.asyncio import AsyncSession

_MOST_CANDIDATES = 5  # ids in the error for an ambiguous beginning
_SHORT_ID = re.compile("[0-9a-f]{4,10}")  # as `audit list` shows it
_MOST_INPUTS = 1000  # inputs of a shell in `audit show`
_SHOW_RECORD = ("audit list", "audit show")


class Filter(NamedTuple):
    """Which runs to list; an empty field does not filter.

    Attributes:
        command: Name of a command, or of a group for all commands in it.
        operator: Name of the operator, compared exactly.
        status: A value of `oneoff.core.outcome.Status`.
        since: Only runs that started at this time or later.
        without: Id of a run to exclude: the run that lists the others.
    """

    command: str = ""
    operator: str = ""
    status: str = ""
    since: datetime | None = None
    without: str = ""


async def list_runs(
    session: AsyncSession, wanted: Filter, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the newest `limit` runs, newest first, and the number of all matching runs."""
    conditions = list(_conditions(wanted))
    newest = select(runs).where(*conditions).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    found = await session.execute(newest.limit(limit))
    total = await session.scalar(select(func.count()).select_from(runs).where(*conditions))
    return [_summary(row) for row in found.mappings()], total or 0


async def find_run(session: AsyncSession, run_id: str) -> dict[str, Any]:
    """Return everything that is recorded about one run.

    Args:
        session: The session to query with.
        run_id: The id, its beginning, or the part after its dash, if that is unique.

    Raises:
        NotFound: No run has this id.
        UsageError: Several runs have an id that starts with this text.
    """
    rows = await _candidates(session, runs.c.id.startswith(run_id, autoescape=True))
    if not rows and _SHORT_ID.fullmatch(run_id):
        rows = await _candidates(session, runs.c.id.contains(f"-{run_id}", autoescape=True))
    exact = [row for row in rows if row["id"] == run_id]
    if len(exact or rows) == 1:
        (row,) = exact or rows
        return _details(row) | await _inputs(session, row) | await _from_events(session, row)
    if not rows:
        raise await _unknown(session, run_id)
    raise UsageError(
        f"several runs match {run_id!r}: {', '.join(row['id'] for row in rows)}",
        try_=f"python manage.py audit show {rows[-1]['id']}",
    )


async def last_run(session: AsyncSession, operator: str) -> str:
    """Return the id of the newest run of an operator that did not only show the record.

    Raises:
        NotFound: The operator has no such run.
    """
    newest = (
        select(runs.c.id)
        .where(
            runs.c.operator == operator,
            runs.c.command.not_in(_SHOW_RECORD),
            runs.c.parent == "",  # not the worker's run of a shard
        )
        .order_by(runs.c.started_at.desc(), runs.c.id.desc())
    )
    found: str | None = await session.scalar(newest.limit(1))
    if found is None:
        raise NotFound(
            f"no run of {operator} is recorded",
            try_="python manage.py audit list",
            code="unknown-run",
        )
    return found


async def _candidates(
    session: AsyncSession, condition: ColumnElement[bool]
) -> Sequence[RowMapping]:
    found = await session.execute(
        select(runs).where(condition).order_by(runs.c.id).limit(_MOST_CANDIDATES)
    )
    return found.mappings().all()


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.command:
        group = runs.c.command.startswith(f"{wanted.command} ", autoescape=True)
        conditions.append(or_(runs.c.command == wanted.command, group))
    if wanted.operator:
        conditions.append(runs.c.operator == wanted.operator)
    if wanted.status:
        conditions.append(runs.c.status == wanted.status)
    if wanted.since:
        conditions.append(runs.c.started_at >= wanted.since)
    if wanted.without:
        conditions.append(runs.c.id != wanted.without)
    return conditions


def _summary(row: RowMapping) -> dict[str, Any]:
    return {
        "run_id": row["id"],
        "started": row["started_at"],
        "command": row["command"],
        "status": row["status"],
        "exit_code": row["exit_code"],
        "rows": row["rows"],
        "operator": row["operator"],
        "operator_source": row["operator_source"],
        "dry_run": row["dry_run"],
        "environment": row["environment"],
        "duration_ms": row["duration_ms"],
    }


def _details(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {**row, "argv": json.loads(row["argv"])}


async def _inputs(session: AsyncSession, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the inputs of a shell, at most the first `_MOST_INPUTS`."""
    if row["command"] != "shell":
        return {}
    columns = (shell_inputs.c.number, shell_inputs.c.at, shell_inputs.c.source)
    typed = select(*columns).where(shell_inputs.c.run_id == row["id"])
    found = await session.execute(typed.order_by(shell_inputs.c.number).limit(_MOST_INPUTS))
    return {"inputs": [dict(given) for given in found.mappings()]}


async def _from_events(session: AsyncSession, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the data that a run kept, and what reviewers have said of it."""
    kinds = audit.c.kind.in_(["closed", "reviewed"])
    query = select(audit.c.event).where(audit.c.run_id == row["id"], kinds)
    facts: dict[str, Any] = {}
    for event in map(read_event, await session.scalars(query.order_by(audit.c.seq))):
        if event.get("kind") == "closed":
            facts |= {name: event[name] for name in ("data", "data_cut") if name in event}
        else:
            review = {name: event.get(name) for name in ("verdict", "reviewer", "at", "comment")}
            facts.setdefault("reviews", []).append(review)
    return facts


async def _unknown(session: AsyncSession, run_id: str) -> NotFound:
    newest = select(runs.c.id).order_by(runs.c.started_at.desc()).limit(1000)
    known = list(await session.scalars(newest))
    best = similar(run_id, known, limit=1)
    return NotFound(
        f"there is no run {run_id!r}" + (f"; did you mean {best[0]}?" if best else ""),
        try_=[f"python manage.py audit show {best[0]}"] if best else "python manage.py audit list",
        code="unknown-run",
    )
