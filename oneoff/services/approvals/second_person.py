"""Decide who counts as a second person, for approvals and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.core.errors import Refused

if TYPE_CHECKING:
    from oneoff.core.run import Run

_SHARED = {
    "os-user": "a user of this machine",
    "heroku": "a dyno",
    "kubernetes": "a pod",
}
"""The sources of operators that name no person."""


def check_second_person(run: Run, verb: str, line: str) -> None:
    """Check that the operator of the run can be a second person at all.

    Args:
        run: The run that approves or reviews.
        verb: What it does.
        line: The command line for somebody else.

    Raises:
        Refused: The operator is an agent; or, in a protected environment, not known as a person.
    """
    operator = run.operator
    if operator.agent:
        raise Refused(
            f"the agent {operator.agent} can't {verb}: it is not a second person",
            try_=f"let a person run: {line}",
            code="agent-refused",
        )
    if run.protected and operator.source in _SHARED:
        what = _SHARED[operator.source]
        raise Refused(
            f"{operator.name} is known only as {what}, and can't {verb} in {run.environment}",
            why=f"people may share {what}",
            try_=f"{verb} where the platform names the operator, or set OPERATOR",
            code="unknown-approver",
        )
