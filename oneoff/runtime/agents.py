"""Decide what a coding agent may do.

An agent runs the line that an error suggests. So the refusal of an agent contains no line that
would pass, and no target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.config import environment as environments
from oneoff.config.settings import AGENTS
from oneoff.core.errors import Refused
from oneoff.core.policy import Access, Confirm, DryRun
from oneoff.runtime.situation import line_with, request_line

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOptions
    from oneoff.runtime.situation import Situation

REFUSE, CONFIRM, ALLOW = AGENTS


def allowed(setting: str, environment: str, *, protected: bool) -> str:
    """Return what agents may do: REFUSE, CONFIRM or ALLOW.

    Args:
        setting: ONEOFF_AGENTS; empty if it is not set. A protected environment is stricter.
        environment: That of the run.
        protected: Whether the project protects it, or the one stored in the database.
    """
    if protected:
        return REFUSE
    return setting or (REFUSE if environments.strictness(environment) else CONFIRM)


def check_agent(
    command: BaseCommand, options: GlobalOptions, situation: Situation, level: Confirm
) -> None:
    """Refuse a run that a coding agent may not start.

    Args:
        command: The command with its inputs.
        options: The global options.
        situation: Where it is about to run.
        level: The confirmation that it needs there.

    Raises:
        Refused: The agent may only read and preview here, or the database is not a local one.
    """
    may = allowed(situation.agents, situation.environment, protected=situation.protected)
    if may == ALLOW:
        return
    changes = not (options.dry_run or command.only_reads())
    if may == REFUSE:
        writes = changes and command.access is Access.WRITE and not command.allow_agents
        may_not = writes or command.allow_agents is False
        if may_not or (changes and level is not Confirm.NEVER) or options.break_glass.strip():
            why = f"the agent {situation.agent} may only read and preview here"
            why += ", and this can do more" if command.allow_agents is False else ""
            raise _refused(command, situation, why)
    elif changes and level is Confirm.TYPE_NAME and not situation.is_local:
        raise _refused(
            command,
            situation,
            f"the agent {situation.agent} may confirm it only for a database on this machine",
        )


def _refused(command: BaseCommand, situation: Situation, why: str) -> Refused:
    runs_here = not command.environments or situation.environment in command.environments
    has_one = command.dry_run is not DryRun.UNSUPPORTED and command.allow_agents is not False
    preview = runs_here and has_one
    dry_run = line_with(situation.line, "--dry-run", without=["--break-glass"])
    return Refused(
        f"{situation.name} may not be run by an agent in {situation.environment}",
        why=why,
        try_=(*((dry_run,) if preview else ()), request_line(situation)),
        code="agent-refused",
    )
