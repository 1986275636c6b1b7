"""Find the tasks that a second person has approved, and that were not run since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from oneoff.database.tables import approvals
from oneoff.runtime.approvals.code import running_code
from oneoff.runtime.approvals.state import Approval, State, clock, problem_in_record, read
from oneoff.services.tasks.history import Summary, summaries

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.services.tasks.catalogue import Entry


async def states_now(
    session: AsyncSession, pairs: Sequence[tuple[Entry, Entry | None]], config: Config, run: Run
) -> dict[str, Summary]:
    """Return the state of each task, with that of its approvals, by the ids of the tasks.

    Args:
        session: The session to query with.
        pairs: The tasks, each with the one that undoes it.
        config: Of the process, which knows the version of the code.
        run: The run that asks, and its environment.
    """
    approved = await approved_at(session, [entry for entry, _ in pairs], config, run)
    return await summaries(session, pairs, approved)


async def approved_at(
    session: AsyncSession, entries: Sequence[Entry], config: Config, run: Run
) -> dict[str, datetime]:
    """Return when the newest approval that can start a task was given, by the ids of the tasks.

    Only what the record proves counts, as at the start of a run.

    Args:
        session: The session to query with.
        entries: The tasks.
        config: Of the process, which knows the version of the code.
        run: The run that asks, and its environment.
    """
    version = running_code(config.environ, config.root)
    if not version:
        return {}  # unknown code is never the approved one
    now = await clock(session)
    conditions = (
        approvals.c.command.in_({entry.name for entry in entries}),
        approvals.c.ended_as == "",
        approvals.c.expires_at > now,
        approvals.c.environment == run.environment,
        approvals.c.code_version == version,
    )
    found: dict[str, datetime] = {}
    for approval in await read(session, *conditions, limit=None):
        if approval.state(now) is not State.APPROVED or await problem_in_record(session, approval):
            continue
        given = max(row["approved_at"] for row in approval["approved_by"])
        for entry in entries:
            if _is_for(approval, entry):
                found[entry.task.id] = max(given, found.get(entry.task.id, given))
    return found


def _is_for(approval: Approval, entry: Entry) -> bool:
    words = json.loads(approval["argv"])
    is_chosen = set(entry.words) <= set(words)
    reverts = "--revert" in words and bool(entry.words)
    return (
        approval["command"] == entry.name and is_chosen and reverts == ("--revert" in entry.words)
    )
