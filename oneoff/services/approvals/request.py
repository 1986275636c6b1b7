"""Request an approval: make a real dry run, and store what it reported and what it is for."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from oneoff.core.conversion import duration_text
from oneoff.core.errors import UsageError
from oneoff.core.policy import Access, Confirm, DryRun
from oneoff.database.tables import approvals
from oneoff.runtime.approvals.code import running_code
from oneoff.runtime.approvals.plan import Plan, binding_of
from oneoff.runtime.approvals.state import clock, hash_of
from oneoff.runtime.approvals.terms import terms_of
from oneoff.runtime.call_command import execute, make_call, running_application
from oneoff.runtime.situation import situation_of
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.database.engine import Database

LONGEST = timedelta(days=365)
"""Maximum of --expires."""
_EXAMPLE = 'python manage.py approval request --reason "TEXT" -- user promote ada admin'
_DECIDED_LATER = ("dry_run", "confirm", "break_glass", "approval", "reason", "ticket")


async def request_approval(
    database: Database, run: Run, words: Sequence[str], *, standing: bool, expires: timedelta
) -> dict[str, Any]:
    """Store a request, and return its row.

    Args:
        database: The database of the run.
        run: The run that requests it; its id becomes that of the approval.
        words: The command line to approve, without the program.
        standing: Whether it may be used more than once.
        expires: Time until it expires.

    Raises:
        UsageError: The request is wrong.
        CommandError: The dry run failed.
    """
    app = running_application()
    call = make_call(app, words)
    version = running_code(app.config.environ, app.config.root)
    _check(call, run, version, expires=expires)
    situation = situation_of(app, call, database, run=run, interactive=False)
    redactor = Redactor(app.config.environ)
    terms = terms_of(call, situation, code_version=version, redactor=redactor)
    plan = Plan()
    # An agent may not run the code of a shell, and so not preview it either.
    may_preview = not (run.operator.agent and call.command.allow_agents is False)
    if may_preview and call.command.dry_run is not DryRun.UNSUPPORTED:
        outcome = await execute(app, make_call(app, words, dry_run=True))
        if outcome.error:
            raise outcome.error
        plan = Plan.of(outcome)._replace(message=redactor.text(outcome.message))
    row = terms._asdict() | {
        "id": run.id,
        "argv": json.dumps(call.argv, ensure_ascii=False),
        "binding": binding_of(call.command).value,
        "plan": plan.stored(),
        "needed": max(1, call.command.approvals_needed(run)),
        "standing": standing,
        "requester": run.operator.name,
        "requester_source": run.operator.known_from,
        "reason": redactor.text(run.reason),
        "ticket": run.ticket,
        "requested_at": run.started_at,
    }
    async with database.transaction("approval") as connection:
        row["expires_at"] = await clock(connection) + expires
        row["hash"] = hash_of(row)
        await connection.execute(insert(approvals).values(row))
    return row


def _check(call: Call, run: Run, version: str, *, expires: timedelta) -> None:
    command, name = call.command, call.name
    problems = [
        f"leave out --{option.replace('_', '-')} of {name}: it belongs to the run or to the request"
        for option in _DECIDED_LATER
        if getattr(call.options, option)
    ]
    asks = max(command.confirm, command.confirm_level()) is not Confirm.NEVER
    writes = command.access is Access.WRITE and not command.only_reads()
    asks_for_agent = run.operator.agent and command.allow_agents is False
    if name.startswith("approval "):
        problems.append(f"{name} can't be approved")
    elif not (writes or asks or command.approvals_needed(run) or asks_for_agent):
        problems.append(f"{name} needs no approval: it only reads")
    if not run.reason:
        problems.append("--reason is missing: the approver has to know why")
    if not timedelta() < expires <= LONGEST:
        problems.append(f"--expires {duration_text(expires)} is not between 1s and {LONGEST.days}d")
    if not version:
        problems.append(
            "an approval is for one version of the code, which is unknown here: set CODE_VERSION"
        )
    if problems:
        raise UsageError(problems, try_=_EXAMPLE)
