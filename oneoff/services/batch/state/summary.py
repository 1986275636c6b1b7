"""What is said of a batch in one line; of a whole, what its shards add up to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from oneoff.core.outcome import Status
from oneoff.database.tables import batches, runs
from oneoff.services.batch.state.checkpoints import ENDED, IDLE, State

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass
class Counts:
    """What the shards of one batch add up to.

    Attributes:
        shards: How many there are.
        ended: How many of them have ended.
        states: Those of the shards that are being worked at.
        sums: Rows done and changed, and errors.
    """

    shards: int = 0
    ended: int = 0
    states: set[State] = field(default_factory=set)
    sums: dict[str, int] = field(
        default_factory=lambda: {"rows_done": 0, "rows_changed": 0, "errors": 0}
    )

    def add(self, row: Mapping[Any, Any]) -> None:
        """Add the shards in one state."""
        self.shards += row["number"]
        self.ended += row["number"] if State(row["status"]) in ENDED else 0
        if is_at_work(row):
            self.states.add(State(row["status"]))
        self.sums = {name: value + int(row[name]) for name, value in self.sums.items()}


async def count_shards(session: AsyncSession, wholes: Sequence[str]) -> Mapping[str, Counts]:
    """Return the counts of several batches by id, of those that have shards."""
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
        .where(batches.c.parent.in_(wholes), batches.c.parent != "")
        .group_by(*by)
    )
    counts: dict[str, Counts] = {}
    for row in (await session.execute(query)).mappings():
        counts.setdefault(row["parent"], Counts()).add(row)
    return counts


def is_at_work(row: Mapping[Any, Any]) -> bool:
    """Return whether a living run works at it: the record has closed the dead ones by now."""
    return State(row["status"]) not in IDLE | ENDED and row["run_status"] == Status.STARTED.value


def summary(row: Mapping[Any, Any], counts: Counts | None = None) -> dict[str, Any]:
    """Return what a listing says of a batch.

    Args:
        row: With the status of its run.
        counts: What its shards add up to, if it has some.
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


def next_step(said: Mapping[str, Any], line: Sequence[str]) -> str:
    """Return the command line an operator may want next; empty where nothing is left to do.

    Args:
        said: The summary of a batch.
        line: The words of the run that works at it, or did so last.
    """
    # What began anew once would do so again.
    same = shlex.join(word for word in line if word != "--new-run") or said["command"]
    what = {
        State.RUNNING: f"batch pause {said['batch']}",
        State.PAUSED: f"batch resume {said['batch']}",
        State.STOPPED: same,
        State.WAITING: same,
    }.get(State(said["state"]))
    return f"python manage.py {what}" if what else ""


def _state(row: Mapping[Any, Any], counts: Counts | None) -> str:
    state = State(row["status"])
    if state not in ENDED and counts and counts.states:
        state = State.PAUSED if counts.states == {State.PAUSED} else State.RUNNING
    elif state not in IDLE | ENDED and not is_at_work(row):
        state = State.STOPPED
    return str(state.value)
