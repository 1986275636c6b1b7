"""Read approvals, and decide which state each is in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from oneoff.core.errors import NotFound
from oneoff.core.run import identity_of
from oneoff.database.tables import approval_uses, approvals, approvers, audit, runs
from oneoff.utils.hash_chain import read_event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    Connection = AsyncConnection | AsyncSession

_SHORT_ID = re.compile("[0-9a-f]{4,10}")  # the end of an id, as the lists show it
_HASHED = (
    "id command argv arguments target environment code_version binding plan needed standing "
    "requester reason expires_at"
).split()


class State(Enum):
    """The states of an approval. Only an approved one starts a run."""

    REQUESTED = "requested"
    """It waits for its approvers."""
    APPROVED = "approved"
    """Enough people have approved it."""
    REJECTED = "rejected"
    """Somebody has refused it."""
    WITHDRAWN = "withdrawn"
    """Somebody no longer wants it."""
    USED = "used"
    """A run has used it, whatever became of that run. A standing approval is never used up."""
    EXPIRED = "expired"
    """Its time is over."""


class Approval(dict[str, Any]):
    """The row of an approval, with `approved_by` and `used_by`: the other rows about it."""

    def state(self, now: datetime) -> State:
        """Return the state at a time, which is from `clock`."""
        if self["ended_as"]:
            return State(self["ended_as"])
        if self["used_by"] and not self["standing"]:
            return State.USED
        if now >= self["expires_at"]:
            return State.EXPIRED
        people = {identity_of(row["approver"]) for row in self["approved_by"]}
        return State.APPROVED if len(people) >= self["needed"] else State.REQUESTED


def hash_of(row: Mapping[str, Any]) -> str:
    """Return the hash of everything that was approved."""
    return hashlib.sha256(repr([str(row[name]) for name in _HASHED]).encode()).hexdigest()


async def clock(connection: Connection) -> datetime:
    """Return the time by which approvals expire: that of the PostgreSQL server.

    SQLite has no clock of its own. There it is the later of this machine's clock and the start of
    the newest run in the record: a clock that was set back must not revive an approval.
    """
    bind = connection.get_bind() if isinstance(connection, AsyncSession) else connection
    if bind.dialect.name == "postgresql":
        now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        return now
    newest: datetime | None = await connection.scalar(select(func.max(runs.c.started_at)))
    return max(datetime.now(UTC), newest or datetime.min.replace(tzinfo=UTC))


async def problem_in_record(connection: Connection, approval: Approval) -> str:
    """Return why the chain of events does not show that the approval is valid; empty if it does.

    Its rows alone are no proof: the role of the application can change them.
    """
    events = select(audit.c.kind, audit.c.event).where(audit.c.run_id == approval["id"])
    people = set()
    for kind, event in (await connection.execute(events.order_by(audit.c.seq))).all():
        facts = read_event(event)
        if kind == "ended":
            return f"the record shows that {facts.get('ended_by')} has {facts.get('ended_as')} it"
        if kind == "used" and not approval["standing"]:
            return f"the record shows that run {facts.get('using_run')} has used it"
        if kind == "approved" and facts.get("hash") == hash_of(approval):
            people.add(identity_of(str(facts.get("approver"))))
    if len(people) < approval["needed"]:
        return f"the record shows approvals of these terms by {len(people)} people"
    return ""


async def find(connection: Connection, approval_id: str) -> Approval:
    """Return an approval.

    Args:
        connection: To query with.
        approval_id: The id, or its part after the dash.

    Raises:
        NotFound: There is none, or several end with this text.
    """
    condition = approvals.c.id == approval_id
    if _SHORT_ID.fullmatch(approval_id):
        condition = or_(condition, approvals.c.id.endswith(f"-{approval_id}", autoescape=True))
    found = await read(connection, condition)
    if len(found) == 1:
        return found[0]
    raise NotFound(
        f"there is no approval {approval_id!r}",
        try_="python manage.py approval list --all",
        code="unknown-approval",
    )


async def read(connection: Connection, *conditions: Any, limit: int | None = 2) -> list[Approval]:
    """Return the approvals that match the conditions, the newest first."""
    newest = select(approvals).where(*conditions).order_by(approvals.c.id.desc()).limit(limit)
    rows = [Approval(row) for row in (await connection.execute(newest)).mappings()]
    ids = [row["id"] for row in rows]
    for name, table in (("approved_by", approvers), ("used_by", approval_uses)):
        query = select(table).where(table.c.approval_id.in_(ids))
        others: Sequence[Mapping[Any, Any]] = (await connection.execute(query)).mappings().all()
        for row in rows:
            row[name] = [dict(other) for other in others if other["approval_id"] == row["id"]]
    return rows
