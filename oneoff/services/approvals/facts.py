"""Return approvals as the data that the commands show."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists

from oneoff.database.tables import approval_uses, approvals
from oneoff.runtime.approvals.plan import Binding, Plan
from oneoff.runtime.approvals.state import Approval, State, clock, read
from oneoff.services.approvals.decide import OPEN

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_BOUND_TO = {
    Binding.ROWS: "the rows by table; a run that changes others is rolled back",
    Binding.PLAN: "the plan; it is made again before the run",
    Binding.ARGUMENTS: "the arguments alone; the rows are not compared",
}


async def list_approvals(
    session: AsyncSession, *, closed: bool, limit: int
) -> list[dict[str, Any]]:
    """Return the newest approvals, each with its state.

    Args:
        session: To query with.
        closed: Whether to return also those that can't be used any more.
        limit: Return at most this many.
    """
    now = await clock(session)
    used = exists().where(approval_uses.c.approval_id == approvals.c.id)
    is_open = (
        approvals.c.ended_as == "",
        approvals.c.expires_at > now,
        approvals.c.standing | ~used,
    )
    open_ones = () if closed else is_open
    found = [facts(row, now) for row in await read(session, *open_ones, limit=limit)]
    return found if closed else [row for row in found if State(row["state"]) in OPEN]


def facts(approval: Approval, now: datetime) -> dict[str, Any]:
    """Return everything that is known about an approval."""
    plan, words = Plan.read(approval["plan"]), json.loads(approval["argv"])
    state = approval.state(now)
    bound = _BOUND_TO[Binding(approval["binding"])]
    standing = approval["standing"]
    return {
        "id": approval["id"],
        "state": state.value,
        "command": approval["command"],
        "line": shlex.join(words),
        "would": plan.message or None,
        "target": approval["target"],
        "environment": approval["environment"],
        "code_version": approval["code_version"] or None,
        "bound_to": "the arguments and the code version; it may be used often"
        if standing
        else bound,
        "standing": standing,
        "reason": approval["reason"],
        "ticket": approval["ticket"] or None,
        "requester": approval["requester"],
        "requester_source": approval["requester_source"],
        "requested_at": approval["requested_at"],
        "expires_at": approval["expires_at"],
        "needed": approval["needed"],
        "ended_by": approval["ended_by"] or None,
        "hash": approval["hash"],
        "rows": [{"table": name, **counts._asdict()} for name, counts in plan.tables.items()],
        "approved_by": [
            {"approver": by["approver"], "source": by["approver_source"], "at": by["approved_at"]}
            for by in approval["approved_by"]
        ],
        "used_by": [{"run_id": row["run_id"], "at": row["used_at"]} for row in approval["used_by"]],
    }


def line(row: dict[str, Any]) -> dict[str, Any]:
    """Return what fits a line of the list."""
    return {
        "expires (UTC)": f"{row['expires_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
        "state": row["state"],
        "requester": row["requester"],
        "line": row["line"],
        "would": row["would"],
        "id": row["id"].rpartition("-")[2],
    }
