"""Decide about a request on a real database; tests/commands/test_approval.py has the commands."""

from __future__ import annotations

import json

import pytest

from oneoff.testing import Manage
from tests.support.database import query
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


async def test_a_name_in_another_case_is_the_same_person_for_code_and_table(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str]
) -> None:
    """Also letters that the database does not fold: SQLite knows only those of ASCII."""
    await make_user("ada")
    approval = (await manage(REQUEST, environ={"OPERATOR": "ärni"})).stdout.strip()

    own = await manage(f"approval approve {approval}", environ={"OPERATOR": "ÄRNI"})

    assert 77 == own.exit_code, own.stdout
    assert "error[self-approval]" in own.stderr
    assert [] == query(manage_environ["DATABASE_URL"], "SELECT 1 FROM oneoff_approvers")


async def test_an_approval_is_an_event_in_the_chain(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str]
) -> None:
    """It names what was approved, so a forged request or approval differs from it."""
    await make_user("ada")
    approval = (await manage(REQUEST)).stdout.strip()
    approved = await manage(f"approval approve {approval}", environ=BOB)
    assert approved.outcome is not None
    shown = (await manage(f"approval show {approval} --json")).json["data"]

    sql = f"SELECT event FROM oneoff_audit WHERE kind = 'approved' AND run_id = '{approval}'"
    ((text,),) = query(manage_environ["DATABASE_URL"], sql)
    event = json.loads(text)
    verified = await manage("audit verify")

    assert ("bob", "setting", "tester", shown["hash"], approved.outcome.run_id) == (
        event["approver"],
        event["approver_source"],
        event["requester"],
        event["hash"],
        event["approving_run"],
    )
    assert 0 == verified.exit_code, verified.stderr


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_clock_that_is_ahead_expires_nobodys_approval(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str]
) -> None:
    """The server's clock decides, and not that of a machine whose run is in the record."""
    await make_user("ada")
    approval = (await manage(REQUEST)).stdout.strip()
    query(
        manage_environ["DATABASE_URL"],
        "UPDATE oneoff_runs SET started_at = '2999-01-01 00:00:00+00' WHERE command = 'user create'"
        " RETURNING id",
    )

    approved = await manage(f"approval approve {approval}", environ=BOB)
    used = await manage(f"user promote ada admin --approval {approval}")

    assert (0, 0) == (approved.exit_code, used.exit_code), approved.stderr + used.stderr
