"""Decide about a request on a real database; tests/commands/test_approval.py has the commands."""

from __future__ import annotations

from oneoff.testing import Manage
from tests.support.fixture_types import MakeUser

REQUEST = "approval request --reason x --quiet -- user promote ada admin"
BOB = {"OPERATOR": "bob"}


async def test_an_approval_is_given_once_and_can_be_taken_back_until_it_is_used(
    manage: Manage, make_user: MakeUser
) -> None:
    """A second approval by the same person changes nothing."""
    await make_user("ada")
    approval = (await manage(REQUEST)).stdout.strip()
    first = await manage(f"approval approve {approval}", environ=BOB)
    second = await manage(f"approval approve {approval}", environ={"OPERATOR": "BOB"})
    used = await manage(f"user promote ada admin --approval {approval}")

    late = await manage(f"approval withdraw {approval}")

    assert f"approved {approval} (1 of 1); it runs with --approval {approval[-10:]}\n" == (
        first.stdout
    )
    assert (0, "BOB has already approved it (1 of 1)\n") == (second.exit_code, second.stdout)
    assert 0 == used.exit_code, used.stderr
    assert f"error[approval-not-open]: the approval {approval} is used" in late.stderr
