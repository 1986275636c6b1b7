"""Review runs: each run with `--break-glass` owes a review by somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, exists, select

from oneoff.core.errors import Refused
from oneoff.core.run import identity_of
from oneoff.database.tables import audit, runs
from oneoff.runtime.audit.chain import add_event
from oneoff.runtime.audit.queries import find_run
from oneoff.services.approvals.second_person import check_second_person

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from oneoff.core.run import Run

Verdict = Literal["approved", "flagged"]
Sensitivity = Literal["break-glass", "production", "personal-data", "shell"]

SENSITIVE: dict[Sensitivity, ColumnElement[bool]] = {
    "break-glass": runs.c.break_glass != "",
    "production": and_(
        runs.c.environment == "production", runs.c.access == "write", runs.c.dry_run.is_(False)
    ),
    "personal-data": runs.c.argv.contains('"--include-pii', autoescape=True),
    "shell": runs.c.command.in_(("shell", "db shell")),
}
"""The runs that a reviewer may want to read. Only those with `--break-glass` owe a review."""


def owes_review() -> ColumnElement[bool]:
    """Return the condition for runs whose review is due and was not done."""
    return and_(SENSITIVE["break-glass"], runs.c.status != "refused", ~_is_reviewed())


async def list_unreviewed(
    connection: AsyncConnection, sensitivity: Sensitivity, limit: int
) -> Sequence[dict[str, Any]]:
    """Return the oldest runs of this kind that nobody has reviewed."""
    columns = (
        runs.c.id.label("run_id"),
        runs.c.started_at.label("started"),
        *(runs.c[name] for name in ("operator", "command", "environment", "status", "break_glass")),
    )
    wanted = select(*columns).where(
        SENSITIVE[sensitivity], runs.c.status != "refused", ~_is_reviewed()
    )
    found = await connection.execute(wanted.order_by(runs.c.started_at, runs.c.id).limit(limit))
    return [dict(row) for row in found.mappings()]


async def review(session: AsyncSession, run_id: str, verdict: Verdict, run: Run) -> str:
    """Record what a reviewer thinks of a run, and return the full id of that run.

    Args:
        session: A session in a transaction.
        run_id: The id of the run, or a part of it, as `find_run` takes it.
        verdict: What the reviewer says.
        run: The run of the reviewer; its reason is the comment.

    Raises:
        NotFound: There is no such run.
        Refused: The reviewer is the operator of that run, or can't be a second person.
    """
    reviewed = await find_run(session, run_id)
    word = "approve" if verdict == "approved" else "flag"
    line = f"python manage.py audit review {word} {reviewed['id']}"
    check_second_person(run, "review", line)
    if identity_of(reviewed["operator"]) == identity_of(run.operator.name):
        raise Refused(
            f"run {reviewed['id']} was your own",
            why=f"it and this run have the operator {run.operator.name} ({run.operator.source})",
            try_=f"let somebody else run: {line}",
            code="own-run",
        )
    facts = {
        "run_id": reviewed["id"],
        "at": run.started_at,
        "verdict": verdict,
        "reviewer": run.operator.name,
        "reviewer_source": run.operator.source,
        "reviewing_run": run.id,
        "comment": run.reason,
    }
    await add_event(await session.connection(), "reviewed", facts)
    return str(reviewed["id"])


def _is_reviewed() -> ColumnElement[bool]:
    return exists().where(audit.c.run_id == runs.c.id, audit.c.kind == "reviewed")
