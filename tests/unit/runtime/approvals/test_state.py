"""The state of an approval follows from its rows and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oneoff.runtime.approvals.state import Approval, State

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def approval(*approvers: str, at: datetime = NOON, **changes: Any) -> Approval:
    """Return an approval that expires an hour after noon."""
    row: dict[str, Any] = {
        "ended_as": "",
        "standing": False,
        "needed": 1,
        "expires_at": NOON + timedelta(hours=1),
        "approved_by": [{"approver": name, "approved_at": at} for name in approvers],
        "used_by": [],
    }
    return Approval(row | changes)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (approval(), State.REQUESTED),
        (approval("bob"), State.APPROVED),
        (approval("bob", needed=2), State.REQUESTED),
        (approval("bob", "Bob", needed=2), State.REQUESTED),
        (approval("ärni", "ÄRNI", needed=2), State.REQUESTED),
        (approval("bob", "cat", needed=2), State.APPROVED),
        (approval("bob", ended_as="rejected"), State.REJECTED),
        (approval("bob", ended_as="withdrawn"), State.WITHDRAWN),
        (approval("bob", used_by=[{}]), State.USED),
        (approval("bob", used_by=[{}], standing=True), State.APPROVED),
        (approval("bob", used_by=[{}], standing=True, expires_at=NOON), State.EXPIRED),
        (approval("bob", expires_at=NOON), State.EXPIRED),
    ],
)
def test_only_an_approval_by_enough_people_in_time_is_approved(
    found: Approval, state: State
) -> None:
    """Names that differ in their case are one person."""
    assert state is found.state(NOON)
