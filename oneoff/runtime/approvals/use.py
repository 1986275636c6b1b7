"""Use an approval: check it before the run, in the transaction of its record, and before COMMIT."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import String, cast, insert, literal, select
from sqlalchemy.exc import IntegrityError

from oneoff.core.errors import Refused, UsageError
from oneoff.database.asyncpg_adapter import set_autocommit
from oneoff.database.tables import UTCDateTime, approval_uses, approvals
from oneoff.runtime.approvals.plan import Binding, Plan
from oneoff.runtime.approvals.state import (
    Approval,
    State,
    clock,
    find,
    hash_of,
    problem_in_record,
)
from oneoff.runtime.approvals.terms import Terms, terms_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.core.outcome import Call, Outcome, RowCounts
    from oneoff.database.engine import Database
    from oneoff.runtime.situation import Situation
    from oneoff.utils.redaction import Redactor


class Use(NamedTuple):
    """An approval that a run uses.

    Attributes:
        approval: The approval.
        tolerance: The part of each number of rows by which the run may differ from the plan.
    """

    approval: Approval
    tolerance: float

    def check_rows(self, tables: Mapping[str, RowCounts], uncounted: str) -> None:
        """Compare the rows of the work with the plan, before the work is committed.

        Args:
            tables: The numbers of changed rows.
            uncounted: Why there are none; empty if they were counted.

        Raises:
            Refused: They differ, or could not be counted.
        """
        if self.approval["standing"] or Binding(self.approval["binding"]) is not Binding.ROWS:
            return
        if uncounted:
            raise Refused(
                "the changed rows can't be compared with the plan that was approved",
                why=f"they could not be counted: {uncounted}",
                code="approval-plan-changed",
            )
        Plan.read(self.approval["plan"]).check_rows(tables, self.tolerance)

    async def burn(
        self, connection: AsyncConnection, run_id: str, add_event: Callable[..., Awaitable[object]]
    ) -> None:
        """Note that this run uses the approval, in the transaction that inserts the run's row.

        The transaction is open afterwards, also if each statement committed itself before.

        Args:
            connection: That of the record.
            run_id: The run.
            add_event: Inserts the row with its event: `oneoff.runtime.audit.chain.add_event`.

        Raises:
            Refused: Another run has used it, or it was rejected or withdrawn meanwhile.
        """
        approval_id = self.approval["id"]
        # A standing approval may be used by many runs, but each use is noted.
        key = f"{approval_id}/{run_id}" if self.approval["standing"] else approval_id
        still_open = select(
            literal(key),
            approvals.c.id,
            cast(literal(run_id), String),
            literal(datetime.now(UTC), UTCDateTime()),
        ).where(approvals.c.id == approval_id, approvals.c.ended_as == "")
        still_open = still_open.with_for_update()  # waits for somebody who rejects it now
        columns = ["key", "approval_id", "run_id", "used_at"]
        await _let_statements_commit(connection, yes=False)
        why = "it was rejected or withdrawn"
        try:
            facts = {"run_id": approval_id, "using_run": run_id, "at": datetime.now(UTC)}
            change = insert(approval_uses).from_select(columns, still_open)
            if await add_event(connection, "used", facts, change=change):
                return
        except IntegrityError:
            why = "another run has used it"
        await _let_statements_commit(connection, yes=True)
        raise _refused(approval_id, why)


async def _let_statements_commit(connection: AsyncConnection, *, yes: bool) -> None:
    """Roll back, and on PostgreSQL let each statement commit itself again; or let them not."""
    if yes:
        await connection.rollback()
    if connection.dialect.name == "postgresql":
        await set_autocommit(connection, on=yes)


async def admit(
    database: Database | None,
    call: Call,
    situation: Situation,
    *,
    code_version: str,
    redactor: Redactor,
    plan_again: Callable[[], Awaitable[Outcome]],
) -> Use:
    """Return the approval that a run names, if it allows exactly this run.

    Args:
        database: The database of the run; None if it has connected to none.
        call: The command and its options.
        situation: Where it is about to run.
        code_version: From `running_code`.
        redactor: Knows the secrets of the process.
        plan_again: Makes a dry run of the same command line.

    Raises:
        UsageError: The approval has no effect on this command line.
        NotFound: There is no such approval.
        Refused: It does not allow this run.
    """
    _check_options(call, situation)
    if database is None or not database.facts or not database.facts.schema_ready:
        raise _refused(call.options.approval, "the database that would show it is not migrated")
    async with database.connect("approval") as connection:
        approval = await find(connection, call.options.approval)
        now = await clock(connection)
        unproven = await problem_in_record(connection, approval)
    _check_state(approval, now)
    if unproven:
        raise _refused(approval["id"], unproven)
    _check_terms(approval, terms_of(call, situation, code_version=code_version, redactor=redactor))
    if situation.approvals > approval["needed"]:
        raise _refused(approval["id"], f"{situation.approvals} people must approve it now")
    use = Use(approval, call.command.approval_tolerance)
    if Binding(approval["binding"]) is Binding.PLAN and not approval["standing"]:
        outcome = await plan_again()
        if outcome.error:
            raise outcome.error
        Plan.read(approval["plan"]).check_plan(Plan.of(outcome), use.tolerance)
    return use


def _check_options(call: Call, situation: Situation) -> None:
    given = {"--dry-run": call.options.dry_run, "--break-glass": call.options.break_glass}
    if clashing := next((option for option, value in given.items() if value), ""):
        raise UsageError(f"--approval and {clashing} can't be used together")
    asks_for_agent = situation.agent and call.command.allow_agents is False
    if call.command.only_reads() and not asks_for_agent:
        raise UsageError("--approval has no effect: with these arguments the command only reads")


def _check_state(approval: Approval, now: datetime) -> None:
    state = approval.state(now)
    if state is State.APPROVED and hash_of(approval) == approval["hash"]:
        return
    people = len(approval["approved_by"])
    why = {
        State.APPROVED: "it was changed after its request",
        State.REQUESTED: f"{people} of {approval['needed']} people have approved it",
        State.USED: f"run {approval['used_by'] and approval['used_by'][0]['run_id']} has used it",
        State.EXPIRED: f"it expired at {approval['expires_at']:%Y-%m-%d %H:%M} UTC",
    }
    ended = f"{approval['ended_by']} has {approval['ended_as']} it"
    raise _refused(approval["id"], why.get(state, ended))


def _check_terms(approval: Approval, terms: Terms) -> None:
    approved = Terms(*(approval[name] for name in Terms._fields))
    if differences := approved.differences(terms):
        raise _refused(approval["id"], "; ".join(differences))


def _refused(approval_id: str, why: str) -> Refused:
    return Refused(
        f"the approval {approval_id} does not allow this run",
        why=why,
        try_=(f"python manage.py approval show {approval_id}", "or request a new approval"),
        code="approval-not-valid",
    )
