"""What operators ask of batches from another terminal: to be shown, to wait, to go on, to end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select, update

from oneoff.batching.checkpoints import ENDED, State
from oneoff.batching.cursor import readable
from oneoff.errors import NotFound, UsageError
from oneoff.outcome import Status
from oneoff.result import Result
from oneoff.schema.tables import batches, runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

_TOLD = 5
"""How many candidates an error names."""
_WITH_RUN = select(batches, runs.c.status.label("run_status")).outerjoin(
    runs, runs.c.id == batches.c.run_id
)


async def list_batches(session: AsyncSession, *, unfinished: bool, limit: int) -> list[Any]:
    """Return the newest batches, the last begun first."""
    newest = _WITH_RUN.order_by(batches.c.started_at.desc(), batches.c.id.desc()).limit(limit)
    if unfinished:
        newest = newest.where(batches.c.finished_at.is_(None))
    found = await session.execute(newest)
    return [_summary(row) for row in found.mappings()]


async def show(session: AsyncSession, name: str) -> dict[str, Any]:
    """Return all that is known of one batch."""
    row = await _find(session, name)
    return _summary(row) | {
        "arguments": json.loads(row["arguments"]),
        "part": row["part"],
        "requested": row["requested"],
        "last_key": readable(row["cursor"]),
        "run_rows": row["run_rows"],
        "rows_expected": row["total"],
        "heartbeat": row["heartbeat_at"],
        "finished": row["finished_at"],
    }


async def pause(session: AsyncSession, name: str) -> Result:
    """Ask a batch that is being worked at to wait after the batch it is in."""
    row = await _find(session, name)
    if not _runs(row):
        return _nothing(row, "it does not run")
    if row["requested"]:
        return _nothing(row, f"it was asked to {row['requested']} already")
    await _set(session, row, requested="pause")
    return Result.changed(f"{row['id']} waits as soon as its batch in work is done", rows=1)


async def resume(session: AsyncSession, name: str) -> Result:
    """Let a paused batch go on; one that nobody works at is resumed by its own command."""
    row = await _find(session, name)
    if State(row["status"]) not in ENDED and not _runs(row):
        return _nothing(row, f"nobody works at it; `{row['command']}` run again resumes it")
    if row["requested"] != "pause" or not _runs(row):
        return _nothing(row, "it is not paused")
    await _set(session, row, requested="")
    return Result.changed(f"{row['id']} goes on", rows=1)


async def cancel(session: AsyncSession, name: str) -> Result:
    """Give a batch up: what is done stays, and the next run begins anew."""
    row = await _find(session, name)
    if State(row["status"]) in ENDED:
        return _nothing(row, f"it is {row['status']}")
    if row["requested"] == "cancel":
        return _nothing(row, "it was asked to cancel already")
    if _runs(row):
        await _set(session, row, requested="cancel")
        return Result.changed(f"{row['id']} ends as soon as its batch in work is done", rows=1)
    ended = {"status": State.CANCELLED.value, "finished_at": datetime.now(UTC)}
    await _set(session, row, **ended, note="cancelled by an operator")
    return Result.changed(f"{row['id']} is given up; what it did stays", rows=1)


def _runs(row: Mapping[Any, Any]) -> bool:
    """Return whether a living run works at it: the record has closed the dead ones by now."""
    at_work = State(row["status"]) in {State.RUNNING, State.PAUSED}
    return at_work and row["run_status"] == Status.STARTED.value


def _state(row: Mapping[Any, Any]) -> str:
    ended = State(row["status"]) in ENDED | {State.STOPPED}
    return str(row["status"]) if ended or _runs(row) else State.STOPPED.value


def _summary(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "batch": row["id"],
        "command": row["command"],
        "state": _state(row),
        "rows_done": row["rows_done"],
        "rows_changed": row["rows_changed"],
        "errors": row["errors"],
        "run_id": row["run_id"],
        "started": row["started_at"],
        "note": row["note"],
    }


async def _find(session: AsyncSession, name: str) -> Mapping[Any, Any]:
    """Return the batch with this id, or that this run works at; the beginning of an id is enough.

    Raises:
        NotFound: There is none.
        UsageError: There are several.
    """
    begins = or_(*(c.startswith(name, autoescape=True) for c in (batches.c.id, batches.c.run_id)))
    found = await session.execute(_WITH_RUN.where(begins).order_by(batches.c.id).limit(_TOLD))
    rows = found.mappings().all()
    exact = [row for row in rows if row["id"] == name]
    if len(exact or rows) == 1:
        return (exact or rows)[0]
    if rows:
        raise UsageError(
            f"several batches begin with {name!r}: {', '.join(row['id'] for row in rows)}",
            try_=f"python manage.py batch show {rows[-1]['id']}",
        )
    raise NotFound(
        f"there is no batch {name!r}", try_="python manage.py batch list", code="unknown-batch"
    )


async def _set(session: AsyncSession, row: Mapping[Any, Any], **values: Any) -> None:
    # Only where nobody else has changed it meanwhile: a batch may end at any moment.
    same = (batches.c.id == row["id"], batches.c.finished_at.is_(None))
    await session.execute(update(batches).where(*same).values(values))


def _nothing(row: Mapping[Any, Any], why: str) -> Result:
    return Result.unchanged(f"{row['id']}: {why}", data=_summary(row))
