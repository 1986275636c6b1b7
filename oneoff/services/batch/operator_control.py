"""What operators ask of batches from another terminal: to be shown, to wait, to go on, to end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, update

from oneoff.core.errors import CommandError, NotFound, UsageError
from oneoff.core.result import Result
from oneoff.database.tables import batches
from oneoff.services.batch.rows.cursor import readable
from oneoff.services.batch.state.checkpoints import ENDED, State
from oneoff.services.batch.state.shards import close_parent, shard_rows, with_run
from oneoff.services.batch.state.summary import count_shards, is_at_work, next_step, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

_TOLD = 5
"""How many candidates an error names."""


async def list_batches(session: AsyncSession, *, unfinished: bool, limit: int) -> list[Any]:
    """Return the newest batches, the last begun first; shards are counted in theirs."""
    newest = with_run().where(batches.c.parent == "").limit(limit)
    newest = newest.order_by(batches.c.started_at.desc(), batches.c.id.desc())
    if unfinished:
        newest = newest.where(batches.c.finished_at.is_(None))
    rows = (await session.execute(newest)).mappings().all()
    counts = await count_shards(session, [row["id"] for row in rows if row["shards"]])
    return [summary(row, counts.get(row["id"])) for row in rows]


async def latest(session: AsyncSession, commands: Sequence[str]) -> dict[str, Any] | None:
    """Return the batch that was begun last by one of these lines; None if there was none."""
    newest = with_run().where(batches.c.command.in_(commands), batches.c.parent == "").limit(1)
    newest = newest.order_by(batches.c.started_at.desc(), batches.c.id.desc())
    row = (await session.execute(newest)).mappings().one_or_none()
    if row is None:
        return None
    counts = await count_shards(session, [row["id"]]) if row["shards"] else {}
    return summary(row, counts.get(row["id"]))


async def show(session: AsyncSession, name: str) -> dict[str, Any]:
    """Return all that is known of one batch."""
    row = await _find(session, name)
    counts = await count_shards(session, [row["id"]] if row["shards"] else [])
    shards = await _shards(session, row)
    said = summary(row, counts.get(row["id"]))
    return said | {
        "by": f"{row['run_operator']} on {row['run_host']}" if row["run_operator"] else "",
        "next": _next(row, said),
        "arguments": json.loads(row["arguments"]),
        "part": row["part"],
        "requested": row["requested"],
        "last_key": None if row["shards"] else readable(row["cursor"]),
        "run_rows": row["run_rows"],
        "rows_expected": _expected(row["total"], said["rows_done"]),
        "heartbeat": row["heartbeat_at"],
        "finished": row["finished_at"],
        "ranges": [_of_shard(shard) for shard in shards],
    }


def _next(row: Mapping[Any, Any], said: Mapping[str, Any]) -> str:
    return next_step(said, json.loads(row["run_argv"] or "[]"))


def _of_shard(row: Mapping[Any, Any]) -> dict[str, Any]:
    said = summary(row)
    counts = {name: said[name] for name in ("state", "rows_done", "rows_changed", "errors")}
    limits = {name: _bound(row[name]) for name in ("low", "high")}
    return {
        "shard": said["batch"],
        **counts,
        **limits,
        "run_id": said["run_id"],
        "note": said["note"],
    }


def _expected(total: int | None, done: int) -> int | None:
    """Return about how many rows there are; a guess that was overtaken says nothing."""
    return total if total is not None and total >= done else None


async def pause(session: AsyncSession, name: str) -> Result:
    """Ask a batch that is being worked at to wait after the batch it is in."""
    row = await _find(session, name)
    if not await _runs(session, row):
        return _nothing(row, "it does not run")
    if row["requested"]:
        return _nothing(row, f"it was asked to {row['requested']} already")
    await _request(session, row, "pause")
    return Result.changed(f"{row['id']} waits as soon as its batch in work is done", rows=1)


async def resume(session: AsyncSession, name: str) -> Result:
    """Let a paused batch go on.

    Raises:
        CommandError: Nobody works at it, so nobody would hear of it.
    """
    row = await _find(session, name)
    if State(row["status"]) is State.FINISHED:
        return _nothing(row, f"it is finished; `{row['command']}` begins a new one")
    if State(row["status"]) in ENDED:
        raise _nobody(row, f"it is {row['status']}; `{row['command']}` begins a new one")
    if not await _runs(session, row):
        raise _nobody(row, _next(row, summary(row)))
    if row["requested"] != "pause":
        return _nothing(row, "it is not paused")
    await _request(session, row, "")
    return Result.changed(f"{row['id']} goes on", rows=1)


def _nobody(row: Mapping[Any, Any], next_: str) -> CommandError:
    return CommandError(
        f"{row['id']} does not go on: nobody works at it",
        why="what stopped is resumed by its own command",
        try_=next_,
        code="batch-not-running",
    )


async def cancel(session: AsyncSession, name: str) -> Result:
    """Give a batch up: what is done stays, and the next run begins anew."""
    row = await _find(session, name)
    if State(row["status"]) in ENDED:
        return _nothing(row, f"it is {row['status']}")
    if row["requested"] == "cancel":
        return _nothing(row, "it was asked to cancel already")
    # The whole first: whoever takes a shard from now on finds there what is asked.
    await _request(session, row, "cancel")
    shards = await _shards(session, row)
    for each in shards:
        if State(each["status"]) not in ENDED and not is_at_work(each):
            await _give_up(session, each)
    if await _runs(session, row):
        return Result.changed(f"{row['id']} ends as soon as its batch in work is done", rows=1)
    if row["shards"] or row["parent"]:
        await (_close(session, row) if row["shards"] else _give_up_shard(session, row))
    else:
        await _give_up(session, row)
    return Result.changed(f"{row['id']} is given up; what it did stays", rows=1)


async def _give_up_shard(session: AsyncSession, row: Mapping[Any, Any]) -> None:
    await _give_up(session, row)
    parent = with_run().where(batches.c.id == row["parent"])
    await _close(session, (await session.execute(parent)).mappings().one())


async def _close(session: AsyncSession, whole: Mapping[Any, Any]) -> None:
    await close_parent(await session.connection(), whole["id"], whole["run_id"])


async def _give_up(session: AsyncSession, row: Mapping[Any, Any]) -> None:
    ended = {"status": State.CANCELLED.value, "finished_at": datetime.now(UTC)}
    # Only where nobody has taken it meanwhile; who has finds the request.
    same = (batches.c.id == row["id"], batches.c.fence == row["fence"])
    unfinished = update(batches).where(*same, batches.c.finished_at.is_(None))
    await session.execute(unfinished.values(**ended, note="cancelled by an operator"))


async def _request(session: AsyncSession, row: Mapping[Any, Any], what: str) -> None:
    """Ask it of a batch, then of its shards; what has ended is left alone."""
    for which in (batches.c.id == row["id"], batches.c.parent == row["id"]):
        unfinished = update(batches).where(which, batches.c.finished_at.is_(None))
        await session.execute(unfinished.values(requested=what))


async def _runs(session: AsyncSession, row: Mapping[Any, Any]) -> bool:
    """Return whether a living run works at it, or at a shard of it."""
    return is_at_work(row) or any(is_at_work(shard) for shard in await _shards(session, row))


async def _shards(session: AsyncSession, row: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    if not row["shards"]:
        return []
    return [*await shard_rows(await session.connection(), row["id"])]


def _bound(text: str | None) -> str | None:
    return None if text is None or text == "null" else readable(text)


async def _find(session: AsyncSession, name: str) -> Mapping[Any, Any]:
    """Return the batch with this id, or that this run works at; the beginning of an id is enough.

    A whole stands for itself where its shards begin the same.

    Raises:
        NotFound: There is none.
        UsageError: There are several.
    """
    begins = or_(*(c.startswith(name, autoescape=True) for c in (batches.c.id, batches.c.run_id)))
    # Wholes first: shards of one come after it, and would fill the list.
    by_rank = (func.length(batches.c.parent), batches.c.id)
    found = await session.execute(with_run().where(begins).order_by(*by_rank).limit(_TOLD))
    rows: list[Mapping[Any, Any]] = list(found.mappings())
    ids = {row["id"] for row in rows}
    exact = [row for row in rows if row["id"] == name]
    tops = exact or [row for row in rows if row["parent"] not in ids]
    if len(tops) == 1:
        return tops[0]
    if tops:
        raise UsageError(
            f"several batches begin with {name!r}: {', '.join(row['id'] for row in tops)}",
            try_=f"python manage.py batch show {tops[-1]['id']}",
        )
    raise NotFound(
        f"there is no batch {name!r}", try_="python manage.py batch list", code="unknown-batch"
    )


def _nothing(row: Mapping[Any, Any], why: str) -> Result:
    return Result.unchanged(f"{row['id']}: {why}", data=summary(row))
