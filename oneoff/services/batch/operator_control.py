"""Show, pause, resume and cancel batches from another terminal.

A request is stored in the row of the batch. The run that works on the batch reads the request each
time it saves a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, update

from oneoff.core.errors import CommandError, NotFound, UsageError
from oneoff.core.result import Result
from oneoff.database.tables import batches
from oneoff.services.batch.rows.cursor import readable
from oneoff.services.batch.rows.ranges import NO_ROWS
from oneoff.services.batch.state.checkpoints import ENDED, State, cancel_unfinished
from oneoff.services.batch.state.queries import is_active, shard_rows, with_run
from oneoff.services.batch.state.shards import close_parent
from oneoff.services.batch.state.summary import count_shards, next_step, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

_MAX_CANDIDATES = 5  # batches that an error names


async def list_batches(session: AsyncSession, *, unfinished: bool, limit: int) -> list[Any]:
    """Return the newest batches, the last started first; parents include their shards' counts."""
    where = [batches.c.finished_at.is_(None)] if unfinished else []
    return await _newest(session, *where, limit=limit)


async def latest(session: AsyncSession, commands: Sequence[str]) -> dict[str, Any] | None:
    """Return the newest batch that one of these command lines started; None if there is none."""
    found = await _newest(session, batches.c.command.in_(commands), limit=1)
    return found[0] if found else None


async def _newest(
    session: AsyncSession, *where: ColumnElement[bool], limit: int
) -> list[dict[str, Any]]:
    newest = with_run().where(batches.c.parent == "", *where).limit(limit)
    newest = newest.order_by(batches.c.started_at.desc(), batches.c.id.desc())
    rows = (await session.execute(newest)).mappings().all()
    counts = await count_shards(session, [row["id"] for row in rows if row["shards"]])
    return [summary(row, counts.get(row["id"])) for row in rows]


async def show(session: AsyncSession, name: str) -> dict[str, Any]:
    """Return the details of one batch, with its shards."""
    row = await find(session, name)
    counts = await count_shards(session, [row["id"]] if row["shards"] else [])
    about = summary(row, counts.get(row["id"]))
    total, done = row["total"], about["rows_done"]
    return about | {
        "by": f"{row['run_operator']} on {row['run_host']}" if row["run_operator"] else "",
        "next": _next(row, about),
        "arguments": json.loads(row["arguments"]),
        "part": row["part"],
        "requested": row["requested"],
        "last_key": None if row["shards"] else readable(row["cursor"]),
        "run_rows": row["run_rows"],
        # An estimate that was exceeded is wrong, so it is not shown.
        "rows_expected": total if total is not None and total >= done else None,
        "heartbeat": row["heartbeat_at"],
        "finished": row["finished_at"],
        "ranges": [_show_shard(shard) for shard in await _shards(session, row)],
    }


def _next(row: Mapping[Any, Any], about: Mapping[str, Any]) -> str:
    return next_step(about, json.loads(row["run_argv"] or "[]"))


def _show_shard(row: Mapping[Any, Any]) -> dict[str, Any]:
    about = summary(row)
    counts = {name: about[name] for name in ("state", "rows_done", "rows_changed", "errors")}
    limits = {
        name: None if row[name] in {None, NO_ROWS} else readable(row[name])
        for name in ("low", "high")
    }
    rest = {"run_id": about["run_id"], "note": about["note"]}
    return {"shard": about["batch"], **counts, **limits, **rest}


async def pause(session: AsyncSession, name: str) -> Result:
    """Request that the run of a batch waits after its current transaction."""
    row = await find(session, name)
    if not await _runs(session, row):
        return _unchanged(row, "it is not running")
    if row["requested"]:
        return _unchanged(row, f"it has already been asked to {row['requested']}")
    await _request(session, row, "pause")
    return Result.changed(f"{row['id']} pauses after its current transaction", rows=1)


async def resume(session: AsyncSession, name: str) -> Result:
    """Resume a paused batch.

    Raises:
        CommandError: `batch-not-running`: no run works on it, so none would read the request.
    """
    row = await find(session, name)
    if State(row["status"]) is State.FINISHED:
        return _unchanged(row, f"it is finished; `{row['command']}` starts a new batch")
    if State(row["status"]) in ENDED:
        raise _not_running(row, f"start a new batch with `{row['command']}`")
    if not await _runs(session, row):
        raise _not_running(row, _next(row, summary(row)))
    if row["requested"] != "pause":
        return _unchanged(row, "it is not paused")
    await _request(session, row, "")
    return Result.changed(f"{row['id']} resumes", rows=1)


def _not_running(row: Mapping[Any, Any], next_: str) -> CommandError:
    return CommandError(
        f"{row['id']} can't be resumed here: no run works on it",
        why="`batch resume` is for paused batches; a stopped one is resumed by its own command",
        try_=next_,
        code="batch-not-running",
    )


async def cancel(session: AsyncSession, name: str) -> Result:
    """Cancel a batch: committed rows are kept, and the next run starts a new batch.

    A run that works on the batch ends when it reads the request. A batch or shard without an active
    run is cancelled here.
    """
    row = await find(session, name)
    if State(row["status"]) in ENDED:
        return _unchanged(row, f"it is {row['status']}")
    if row["requested"] == "cancel":
        return _unchanged(row, "it has already been asked to cancel")
    # The parent first: a run that claims a shard from now on reads the request in the parent's row.
    await _request(session, row, "cancel")
    for shard in await _shards(session, row):
        if State(shard["status"]) not in ENDED and not is_active(shard):
            await _cancel_inactive(session, shard)
    if await _runs(session, row):
        return Result.changed(f"{row['id']} ends after its current transaction", rows=1)
    if not row["shards"]:
        await _cancel_inactive(session, row)
    if parent := row["id"] if row["shards"] else row["parent"]:
        await close_parent(await session.connection(), parent)
    return Result.changed(f"{row['id']} is cancelled; committed rows are kept", rows=1)


async def _cancel_inactive(session: AsyncSession, row: Mapping[Any, Any]) -> None:
    note = "cancelled by an operator"
    await cancel_unfinished(await session.connection(), row["id"], note, fence=row["fence"])


async def _request(session: AsyncSession, row: Mapping[Any, Any], what: str) -> None:
    """Store a request in a batch, then in its shards, except those that have ended."""
    for which in (batches.c.id == row["id"], batches.c.parent == row["id"]):
        unfinished = update(batches).where(which, batches.c.finished_at.is_(None))
        await session.execute(unfinished.values(requested=what))


async def _runs(session: AsyncSession, row: Mapping[Any, Any]) -> bool:
    """Return whether an active run works on the batch, or on one of its shards."""
    return is_active(row) or any(is_active(shard) for shard in await _shards(session, row))


async def _shards(session: AsyncSession, row: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    if not row["shards"]:
        return []
    return [*await shard_rows(await session.connection(), row["id"])]


async def find(session: AsyncSession, name: str) -> Mapping[Any, Any]:
    """Return the batch with this id, or the batch of the run with this id.

    The first characters of an id are enough. The id of a shard starts with the id of its parent, so
    a name that matches both means the parent.

    Raises:
        NotFound: No batch matches.
        UsageError: Several batches match.
    """
    begins = or_(*(c.startswith(name, autoescape=True) for c in (batches.c.id, batches.c.run_id)))
    # Batches without a parent come first: otherwise shards alone could fill the list.
    by_rank = (func.length(batches.c.parent), batches.c.id)
    found = await session.execute(
        with_run().where(begins).order_by(*by_rank).limit(_MAX_CANDIDATES)
    )
    rows: list[Mapping[Any, Any]] = list(found.mappings())
    ids = {row["id"] for row in rows}
    exact = [row for row in rows if row["id"] == name]
    matches = exact or [row for row in rows if row["parent"] not in ids]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"several batches begin with {name!r}: {', '.join(row['id'] for row in matches)}",
            try_=f"python manage.py batch show {matches[-1]['id']}",
        )
    raise NotFound(
        f"there is no batch {name!r}", try_="python manage.py batch list", code="unknown-batch"
    )


def _unchanged(row: Mapping[Any, Any], why: str) -> Result:
    return Result.unchanged(f"{row['id']}: {why}", data=summary(row))
