"""Summarize a batch for listings; for a batch with shards, add up their counts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from oneoff.database.tables import batches, runs
from oneoff.services.batch.state.checkpoints import ENDED, IDLE, State
from oneoff.services.batch.state.queries import is_active

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass
class Counts:
    """The sums over the shards of one batch.

    Attributes:
        shards: Number of shards.
        ended: Number of shards that have ended.
        states: The states of the shards that a run works on.
        sums: Rows done, rows changed, and errors.
    """

    shards: int = 0
    ended: int = 0
    states: set[State] = field(default_factory=set)
    sums: dict[str, int] = field(
        default_factory=lambda: {"rows_done": 0, "rows_changed": 0, "errors": 0}
    )

    def add(self, row: Mapping[Any, Any]) -> None:
        """Add a group of shards with the same state and the same status of their runs."""
        self.shards += row["number"]
        self.ended += row["number"] if State(row["status"]) in ENDED else 0
        if is_active(row):
            self.states.add(State(row["status"]))
        self.sums = {name: value + int(row[name]) for name, value in self.sums.items()}


async def count_shards(session: AsyncSession, parents: Sequence[str]) -> Mapping[str, Counts]:
    """Return the counts of several batches by id; batches without shards are omitted."""
    # Also grouped by the status of the run: a shard in state `running` may be active, or its run
    # was killed, and only the run's status distinguishes the two. A batch may have ten thousand
    # shards, so the database adds them up.
    by = (batches.c.parent, batches.c.status, runs.c.status)
    query = (
        select(
            batches.c.parent,
            batches.c.status,
            runs.c.status.label("run_status"),
            func.count().label("number"),
            *(func.sum(batches.c[name]).label(name) for name in Counts().sums),
        )
        .outerjoin(runs, runs.c.id == batches.c.run_id)
        .where(batches.c.parent.in_(parents), batches.c.parent != "")
        .group_by(*by)
    )
    counts: dict[str, Counts] = {}
    for row in (await session.execute(query)).mappings():
        counts.setdefault(row["parent"], Counts()).add(row)
    return counts


def summary(row: Mapping[Any, Any], counts: Counts | None = None) -> dict[str, Any]:
    """Return a batch as a row of a listing.

    Args:
        row: From `with_run`.
        counts: The counts of its shards, if it has shards.
    """
    rows = {name: row[name] for name in ("rows_done", "rows_changed", "errors")}
    return {
        "batch": row["id"],
        "command": row["command"],
        "state": _state(row, counts),
        "shards": f"{counts.ended}/{counts.shards}" if counts else "",
        **(counts.sums if counts else rows),
        "note": row["note"],
        "started": row["started_at"],
        "run_id": row["run_id"],
    }


def next_step(batch: Mapping[str, Any], line: Sequence[str]) -> str:
    """Return the command line that an operator may want to run next; empty if the batch has ended.

    Args:
        batch: Its summary.
        line: The argv of the run that works on it, or last worked on it.
    """
    # Without --new-run: with it, the line would start another batch instead of resuming this one.
    same = shlex.join(word for word in line if word != "--new-run") or batch["command"]
    what = {
        State.RUNNING: f"batch pause {batch['batch']}",
        State.PAUSED: f"batch resume {batch['batch']}",
        State.STOPPED: same,
        State.WAITING: same,
    }.get(State(batch["state"]))
    return f"python manage.py {what}" if what else ""


def _state(row: Mapping[Any, Any], counts: Counts | None) -> str:
    state = State(row["status"])
    if state not in ENDED and counts and counts.states:
        state = State.PAUSED if counts.states == {State.PAUSED} else State.RUNNING
    elif state not in IDLE | ENDED and not is_active(row):
        state = State.STOPPED
    return str(state.value)
