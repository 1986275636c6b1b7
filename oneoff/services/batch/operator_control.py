"""Show, pause, resume and cancel batches from another terminal.

A request is written into the row of the batch. The run that works on it reads the request with each
checkpoint that it saves.
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

_MAX_CANDIDATES = 5  # that an error names


async def list_batches(session: AsyncSession, *, unfinished: bool, limit: int) -> list[Any]:
    """Return the newest batches, the last begun first; shards are counted in their parent."""
    where = [batches.c.finished_at.is_(None)] if unfinished else []
    return await _newest(session, *where, limit=limit)


async def latest(session: AsyncSession, commands: Sequence[str]) -> dict[str, Any] | None:
    """Return the batch that one of these command lines began last; None if there is none."""
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
    """Return all that is known of one batch, with its shards."""
    row = await _find(session, name)
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
        # An estimate that was exceeded says nothing.
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
    """Request that the run of a batch waits after the rows that it has in work."""
    row = await _find(session, name)
    if not await _runs(session, row):
        return _unchanged(row, "it does not run")
    if row["requested"]:
        return _unchanged(row, f"it was asked to {row['requested']} already")
    await _request(session, row, "pause")
    return Result.changed(f"{row['id']} waits as soon as its batch in work is done", rows=1)


async def resume(session: AsyncSession, name: str) -> Result:
    """Let a paused batch go on.

    Raises:
        CommandError: `batch-not-running`: no run works on it, so none would read the request.
    """
    row = await _find(session, name)
    if State(row["status"]) is State.FINISHED:
        return _unchanged(row, f"it is finished; `{row['command']}` begins a new one")
    if State(row["status"]) in ENDED:
        raise _not_running(row, f"it is {row['status']}; `{row['command']}` begins a new one")
    if not await _runs(session, row):
        raise _not_running(row, _next(row, summary(row)))
    if row["requested"] != "pause":
        return _unchanged(row, "it is not paused")
    await _request(session, row, "")
    return Result.changed(f"{row['id']} goes on", rows=1)


def _not_running(row: Mapping[Any, Any], next_: str) -> CommandError:
    return CommandError(
        f"{row['id']} does not go on: nobody works at it",
        why="what stopped is resumed by its own command",
        try_=next_,
        code="batch-not-running",
    )


async def cancel(session: AsyncSession, name: str) -> Result:
    """Cancel a batch: the rows that are done stay, and the next run begins a new batch.

    A run that works on it ends by itself when it reads the request; whatever no run works on is
    cancelled here.
    """
    row = await _find(session, name)
    if State(row["status"]) in ENDED:
        return _unchanged(row, f"it is {row['status']}")
    if row["requested"] == "cancel":
        return _unchanged(row, "it was asked to cancel already")
    # The parent first: a run that claims a shard from now on reads there what is requested.
    await _request(session, row, "cancel")
    for shard in await _shards(session, row):
        if State(shard["status"]) not in ENDED and not is_active(shard):
            await _cancel_inactive(session, shard)
    if await _runs(session, row):
        return Result.changed(f"{row['id']} ends as soon as its batch in work is done", rows=1)
    if not row["shards"]:
        await _cancel_inactive(session, row)
    if parent := row["id"] if row["shards"] else row["parent"]:
        await close_parent(await session.connection(), parent)
    return Result.changed(f"{row['id']} is given up; what it did stays", rows=1)


async def _cancel_inactive(session: AsyncSession, row: Mapping[Any, Any]) -> None:
    note = "cancelled by an operator"
    await cancel_unfinished(await session.connection(), row["id"], note, fence=row["fence"])


async def _request(session: AsyncSession, row: Mapping[Any, Any], what: str) -> None:
    """Write a request into a batch, then into its shards, except those that have ended."""
    for which in (batches.c.id == row["id"], batches.c.parent == row["id"]):
        unfinished = update(batches).where(which, batches.c.finished_at.is_(None))
        await session.execute(unfinished.values(requested=what))


async def _runs(session: AsyncSession, row: Mapping[Any, Any]) -> bool:
    """Return whether a living run works on the batch, or on one of its shards."""
    return is_active(row) or any(is_active(shard) for shard in await _shards(session, row))


async def _shards(session: AsyncSession, row: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    if not row["shards"]:
        return []
    return [*await shard_rows(await session.connection(), row["id"])]


async def _find(session: AsyncSession, name: str) -> Mapping[Any, Any]:
    """Return the batch with this id, or that the run with this id works on.

    The beginning of an id is enough. Ids of shards begin with that of their parent, so a name that
    fits a parent and its shards stands for the parent.

    Raises:
        NotFound: There is none.
        UsageError: There are several.
    """
    begins = or_(*(c.startswith(name, autoescape=True) for c in (batches.c.id, batches.c.run_id)))
    # Parents, which have no parent, come first: shards would fill the list.
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
