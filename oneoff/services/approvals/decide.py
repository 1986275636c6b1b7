"""Approve, reject and withdraw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from oneoff.core.errors import CommandError, Refused
from oneoff.core.project import load_object
from oneoff.core.run import identity_of
from oneoff.database.tables import approvals, approvers
from oneoff.runtime.approvals.state import Approval, State, clock, find
from oneoff.runtime.audit.chain import add_event
from oneoff.services.approvals.second_person import check_second_person

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project
    from oneoff.core.run import Run

OPEN = frozenset({State.REQUESTED, State.APPROVED})


async def approve(
    session: AsyncSession, run: Run, project: Project, approval_id: str
) -> tuple[Approval, bool]:
    """Approve a request as the operator of the run, if the project lets them.

    Returns:
        The approval as it is now, and whether this run has changed it.

    Raises:
        Refused: The operator can't be the second person, or the request is not open.
    """
    approval = await find_open(session, approval_id)
    _check_person(run, project, approval)
    identity, requester = identity_of(run.operator.name), identity_of(approval["requester"])
    if identity in {identity_of(row["approver"]) for row in approval["approved_by"]}:
        return approval, False
    vote = {
        "approval_id": approval["id"],
        "approver": run.operator.name,
        "approver_source": run.operator.known_from,
        "requester": approval["requester"],
        "run_id": run.id,
        "approved_at": await clock(session),
    }
    try:
        # The event belongs to the run that requested the approval, and says what was approved.
        facts = vote | {"run_id": approval["id"], "approving_run": run.id, "hash": approval["hash"]}
        del facts["approval_id"]
        identities = {"approver_identity": identity, "requester_identity": requester}
        change = insert(approvers).values(vote | identities)
        await add_event(await session.connection(), "approved", facts, change=change)
    except IntegrityError as exc:
        if identity != requester:
            raise
        raise Refused(
            f"{run.operator.name} has requested this approval, and so can't give it",
            why="an approval is that of a second person",
            try_="let somebody else run: python manage.py approval approve " + approval["id"],
            code="self-approval",
        ) from exc
    approval["approved_by"].append(vote)
    return approval, True


async def end(session: AsyncSession, run: Run, approval_id: str, state: State) -> Approval:
    """Reject or withdraw a request or an approval that was not used yet.

    Raises:
        Refused: It is not open.
    """
    approval = await find_open(session, approval_id)
    ended = {"ended_as": state.value, "ended_by": run.operator.name, "ended_at": run.started_at}
    still_open = (approvals.c.id == approval["id"], approvals.c.ended_as == "")
    facts = {**ended, "run_id": approval["id"], "ending_run": run.id}
    change = update(approvals).where(*still_open).values(ended)
    if not await add_event(await session.connection(), "ended", facts, change=change):
        return await find_open(session, approval_id)  # somebody else has ended it just now
    approval.update(ended)
    return approval


async def find_open(session: AsyncSession, approval_id: str) -> Approval:
    """Return an approval that was neither used nor ended.

    Raises:
        NotFound: There is none.
        CommandError: It is not open any more.
    """
    approval = await find(session, approval_id)
    state = approval.state(await clock(session))
    if state not in OPEN:
        raise CommandError(
            f"the approval {approval['id']} is {state.value}",
            try_=f"python manage.py approval show {approval['id']}",
            code="approval-not-open",
        )
    return approval


def _check_person(run: Run, project: Project, approval: Approval) -> None:
    line = f"python manage.py approval approve {approval['id']}"
    check_second_person(run, "approve", line)
    command = approval["command"]
    if project.approvers and not load_object(project.approvers)(run.operator, command):
        raise Refused(
            f"{run.operator.name} may not approve {command}",
            why=f"{project.approvers} decides who may",
            try_=f"let somebody else run: {line}",
            code="not-an-approver",
        )
