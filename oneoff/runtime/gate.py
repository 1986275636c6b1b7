"""Decide whether a run may start, from its policy, its options, the environment and the terminal.

`Execution._gate` calls them in this order: `situation_of`, `decide`, and if the operator must be
asked, `banner`, `question` and `check_answer`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config import environment as environments
from oneoff.config.redis_url import redis_url
from oneoff.core.command import BaseCommand
from oneoff.core.errors import ConfigurationError, Declined, Refused
from oneoff.core.options import GlobalOptions
from oneoff.core.policy import Access, Confirm, DryRun, Mode

if TYPE_CHECKING:
    from oneoff.config.environment import Facts
    from oneoff.config.settings import Config
    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.runtime.application import Application


class Ask(Enum):
    """What to ask the operator before the run may start."""

    NOTHING = "nothing"
    YES_OR_NO = "yes or no"
    TARGET = "target"


class Situation(NamedTuple):
    """Where a command is about to run.

    Attributes:
        name: Full name of the command: "db reset".
        line: The whole command line as typed, secrets removed: "python manage.py db reset".
        environment: The effective environment.
        target: `<database>@<environment>`, read from the connected database; for a command that
            works on Redis `<host>/<number>@<environment>`.
        protected: Whether TYPE_NAME commands need `--break-glass` in this environment.
        interactive: Whether the operator can be asked.
        environment_from: Why the environment differs from ENVIRONMENT; empty if it does not.
    """

    name: str
    line: str
    environment: str
    target: str
    protected: bool
    interactive: bool
    environment_from: str = ""


def situation_of(
    app: Application, call: Call, facts: Facts | None, *, run: Run, interactive: bool
) -> Situation:
    """Return where a command is about to run.

    Args:
        app: The project.
        call: The command.
        facts: The facts read from the database, if the run has connected to one.
        run: Its environment, and whether that is protected.
        interactive: Whether the terminal is interactive.
    """
    return Situation(
        name=call.name,
        line=call.line,
        environment=run.environment,
        target=f"{_database_name(app, call, facts)}@{run.environment}",
        protected=run.protected,
        interactive=interactive and not call.options.no_input,
        environment_from=environments.why(
            app.configured_environment, run.environment, facts, app.config.environment_assumed
        ),
    )


def _database_name(app: Application, call: Call, facts: Facts | None) -> str:
    """Return the name of the SQL or Redis database that the command works on."""
    if call.command.aims_at == "redis":
        return redis_url(app.config).name
    if facts:
        return facts.database
    try:
        return app.database_url().name
    except ConfigurationError:
        return "database"  # a command that needs no database runs with a wrong URL too


def environment_warnings(
    config: Config, facts: Facts | None, environment: str, *, stores_it: bool
) -> Iterator[str]:
    """Yield what an operator may not expect of the environment.

    Args:
        config: The settings.
        facts: The facts of the database, if the run has connected to one.
        environment: That of the run.
        stores_it: Whether the run stores it in the database.
    """
    if facts and facts.is_copy and not stores_it:
        yield (
            f"this database is a copy of one in {facts.stored_environment}; "
            "run `python manage.py migrate` to store its new environment"
        )
    is_new = facts is None or not facts.stored_environment or facts.is_copy
    if stores_it and is_new and config.environment_assumed:
        yield (
            f"{config.environment_assumed}; this run stores {environment} in the database, and "
            "`python manage.py system environment set` changes it"
        )


def mode_of(command: BaseCommand, options: GlobalOptions) -> Mode:
    """Return how the run may change data."""
    if command.access is Access.READ or command.only_reads():
        return Mode.READ_ONLY
    if not options.dry_run:
        return Mode.COMMIT
    return Mode.ROLLBACK if command.dry_run is DryRun.ROLLBACK else Mode.READ_ONLY


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
    _check_protection(level, command, options, situation)
    if level is Confirm.NEVER:
        return Ask.NOTHING
    return _check_confirmation(level, command, options, situation)


def needs_confirmation(command: BaseCommand, options: GlobalOptions, situation: Situation) -> bool:
    """Return whether an operator would have to confirm the run, and has not done it yet."""
    is_real = not options.dry_run and not command.only_reads()
    is_asked = _level(command, situation) is not Confirm.NEVER and options.confirm is None
    return is_real and is_asked


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


def banner(command: BaseCommand, situation: Situation, url: str) -> str:
    """Return the text to show before the prompt.

    Args:
        command: The command to confirm.
        situation: Where it is about to run.
        url: URL of the database or Redis that the command works on, without its password.
    """
    lines = [
        f"environment: {situation.environment}",
        *([f"because:     {situation.environment_from}"] if situation.environment_from else ()),
        f"{command.aims_at + ':':<12} {url}",
        f"{situation.name} {consequence(command, situation)}",
    ]
    if command.dry_run is not DryRun.UNSUPPORTED:
        lines.append(f"preview:     {situation.line} --dry-run")
    return "\n".join(lines) + "\n"


def consequence(command: BaseCommand, situation: Situation) -> str:
    """Describe what the run would do, with the name of its target."""
    return command.consequence().replace("{target}", situation.target)


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
        try_=_with(situation.line, '--break-glass "REASON"'),
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
            _with(situation.line, '--break-glass "REASON"', f"--confirm={situation.target}"),
        ),
        code="prohibited-here",
    )


def _check_confirmation(
    level: Confirm, command: BaseCommand, options: GlobalOptions, situation: Situation
) -> Ask:
    given = options.confirm
    if isinstance(given, str) and given != situation.target:
        raise _wrong_target(given, command, situation)
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
        try_=_tries(command, situation, _with(situation.line, flag)),
        code="confirmation-required",
    )


def _wrong_target(given: str, command: BaseCommand, situation: Situation) -> Refused:
    return Refused(
        f"{given!r} is not the target of this run: {situation.target}",
        why=_because("the confirmation names another target", situation),
        try_=_tries(command, situation, _with(situation.line, f"--confirm={situation.target}")),
        code="confirmation-mismatch",
    )


def _because(why: str, situation: Situation) -> str:
    return f"{why}; {situation.environment_from}" if situation.environment_from else why


def _tries(command: BaseCommand, situation: Situation, confirmed: str) -> Sequence[str]:
    if command.dry_run is DryRun.UNSUPPORTED:
        return (confirmed,)
    return (_with(situation.line, "--dry-run"), confirmed)


def _with(line: str, *flags: str) -> str:
    """Return the line with the flags added, and without an earlier --confirm or --break-glass."""
    words = [
        word
        for word in shlex.split(line)
        if word != "--confirm" and not word.startswith(("--confirm=", "--break-glass="))
    ]
    cut = words.index("--") if "--" in words else len(words)
    return " ".join([*map(shlex.quote, words[:cut]), *flags, *map(shlex.quote, words[cut:])])
