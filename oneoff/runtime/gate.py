"""Decide whether a run may start, from its policy, its options, the environment and the terminal.

`Execution._gate` calls them in this order: `check_agent`, `decide`, and if the operator must be
asked, `banner`, `question` and `check_answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from oneoff.core.command import BaseCommand
from oneoff.core.errors import Declined, Refused
from oneoff.core.options import GlobalOptions
from oneoff.core.policy import Access, Confirm, DryRun, Mode
from oneoff.runtime.situation import Situation, consequence, line_with, request_line


class Ask(Enum):
    """What to ask the operator before the run may start."""

    NOTHING = "nothing"
    YES_OR_NO = "yes or no"
    TARGET = "target"


def mode_of(command: BaseCommand, options: GlobalOptions) -> Mode:
    """Return how the run may change data."""
    if command.access is Access.READ or command.only_reads():
        return Mode.READ_ONLY
    if not options.dry_run:
        return Mode.COMMIT
    return Mode.ROLLBACK if command.dry_run is DryRun.ROLLBACK else Mode.READ_ONLY


def check_agent(command: BaseCommand, options: GlobalOptions, situation: Situation) -> None:
    """Refuse a run that a coding agent may not start; a run without an agent passes.

    It comes before all other checks, because their errors suggest lines that would pass.

    Raises:
        Refused: The agent may only read and preview here, or the database is not a local one.
    """
    if situation.agent and not situation.approved:
        from oneoff.runtime.agents import check_agent as check

        check(command, options, situation, _level(command, situation))


def decide(command: BaseCommand, options: GlobalOptions, situation: Situation) -> Ask:
    """Return what the operator must be asked before the run may start.

    Raises:
        Refused: The policy forbids the run here, or the run is not confirmed and there is no
            terminal to ask at.
    """
    _check_environment(command, options, situation)
    if options.dry_run or command.only_reads():
        return Ask.NOTHING
    _check_terminal(command, situation)
    level = _level(command, situation)
    if situation.approved:
        _check_target(command, options, situation)
        return Ask.NOTHING
    _check_approvals(command, options, situation)
    _check_protection(level, command, options, situation)
    if level is Confirm.NEVER:
        return Ask.NOTHING
    return _check_confirmation(level, command, options, situation)


def needs_confirmation(command: BaseCommand, options: GlobalOptions, situation: Situation) -> bool:
    """Return whether an operator would have to confirm the run, and has not done it yet."""
    is_real = not options.dry_run and not command.only_reads()
    is_asked = _level(command, situation) is not Confirm.NEVER and options.confirm is None
    return is_real and is_asked and not situation.approved


def question(ask: Ask, situation: Situation) -> str:
    """Return the text of the prompt."""
    if ask is Ask.TARGET:
        return f"Type {situation.target} to continue: "
    return "Continue? [y/N] "


def check_answer(ask: Ask, answer: str | None, command: BaseCommand, situation: Situation) -> None:
    """Refuse the run unless the answer confirms it.

    Raises:
        Refused: The answer does not confirm the run, or the input ended.
    """
    if answer is None:
        level = Confirm.PROMPT if ask is Ask.YES_OR_NO else Confirm.TYPE_NAME
        raise _not_confirmed(level, command, situation)
    right = {"y", "yes"} if ask is Ask.YES_OR_NO else {situation.target}
    given = answer.strip()
    if (given.lower() if ask is Ask.YES_OR_NO else given) in right:
        return
    if ask is Ask.YES_OR_NO:
        raise Declined(f"{situation.name} was declined; nothing was changed")
    raise _wrong_target(given, command, situation)


def banner(command: BaseCommand, situation: Situation) -> str:
    """Return the text to show before the prompt."""
    lines = [
        f"environment: {situation.environment}",
        *([f"because:     {situation.environment_from}"] if situation.environment_from else ()),
        f"{command.aims_at + ':':<12} {situation.url}",
        f"{situation.name} {consequence(command, situation)}",
    ]
    if command.dry_run is not DryRun.UNSUPPORTED:
        lines.append(f"preview:     {situation.line} --dry-run")
    return "\n".join(lines) + "\n"


def _level(command: BaseCommand, situation: Situation) -> Confirm:
    if command.confirm_only_protected and not situation.protected:
        return command.confirm
    return max(command.confirm, command.confirm_level())


def _check_terminal(command: BaseCommand, situation: Situation) -> None:
    if command.needs_terminal() and not situation.interactive:
        raise Refused(
            f"{situation.name} needs an interactive terminal here",
            why=f"it {consequence(command, situation)}",
            try_="run it at a terminal, or leave out the option that needs one",
            code="terminal-required",
        )


def _check_environment(command: BaseCommand, options: GlobalOptions, situation: Situation) -> None:
    if not command.environments or situation.environment in command.environments:
        return
    if options.break_glass.strip():
        return
    allowed = ", ".join(sorted(command.environments))
    raise Refused(
        f"{situation.name} may not run in {situation.environment}",
        why=_because(f"the command is limited to: {allowed}", situation),
        try_=line_with(situation.line, '--break-glass "REASON"')
        if not situation.agent
        else f"run it in: {allowed}",
        code="prohibited-here",
    )


def _check_protection(
    level: Confirm, command: BaseCommand, options: GlobalOptions, situation: Situation
) -> None:
    guarded = level is Confirm.TYPE_NAME and situation.protected
    if not guarded or command.allow_in_production or options.break_glass.strip():
        return
    raise Refused(
        f"{situation.name} may not run in {situation.environment}",
        why=_because(f"it {consequence(command, situation)}", situation),
        try_=_tries(
            command,
            situation,
            line_with(situation.line, '--break-glass "REASON"', f"--confirm={situation.target}"),
        ),
        code="prohibited-here",
    )


def _check_approvals(command: BaseCommand, options: GlobalOptions, situation: Situation) -> None:
    if not situation.approvals or options.break_glass.strip():
        return
    people = "a second person" if situation.approvals == 1 else f"{situation.approvals} people"
    preview = command.dry_run is not DryRun.UNSUPPORTED
    raise Refused(
        f"{situation.name} needs the approval of {people} in {situation.environment}",
        why=_because(f"it {consequence(command, situation)}", situation),
        try_=(
            *((line_with(situation.line, "--dry-run"),) if preview else ()),
            request_line(situation),
        ),
        code="approval-required",
    )


def _check_target(command: BaseCommand, options: GlobalOptions, situation: Situation) -> None:
    given = options.confirm
    if isinstance(given, str) and given != situation.target:
        raise _wrong_target(given, command, situation)


def _check_confirmation(
    level: Confirm, command: BaseCommand, options: GlobalOptions, situation: Situation
) -> Ask:
    _check_target(command, options, situation)
    given = options.confirm
    if given is True and level is Confirm.TYPE_NAME:
        raise _not_confirmed(level, command, situation)
    if given is not None:
        return Ask.NOTHING
    if not situation.interactive:
        raise _not_confirmed(level, command, situation)
    return Ask.TARGET if level is Confirm.TYPE_NAME else Ask.YES_OR_NO


def _not_confirmed(level: Confirm, command: BaseCommand, situation: Situation) -> Refused:
    flag = "--confirm" if level is Confirm.PROMPT else f"--confirm={situation.target}"
    return Refused(
        f"{situation.name} was not confirmed",
        why=f"it {consequence(command, situation)}",
        try_=_tries(command, situation, line_with(situation.line, flag)),
        code="confirmation-required",
    )


def _wrong_target(given: str, command: BaseCommand, situation: Situation) -> Refused:
    return Refused(
        f"{given!r} is not the target of this run: {situation.target}",
        why=_because("the confirmation names another target", situation),
        try_=_tries(command, situation, line_with(situation.line, f"--confirm={situation.target}")),
        code="confirmation-mismatch",
    )


def _because(why: str, situation: Situation) -> str:
    return f"{why}; {situation.environment_from}" if situation.environment_from else why


def _tries(command: BaseCommand, situation: Situation, confirmed: str) -> Sequence[str]:
    if command.dry_run is DryRun.UNSUPPORTED:
        return (confirmed,)
    return (line_with(situation.line, "--dry-run"), confirmed)
