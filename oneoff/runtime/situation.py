"""Describe where a command is about to run, and write the command lines that a refusal suggests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oneoff.config import environment as environments
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.environment import Facts
    from oneoff.config.redis_url import RedisURL
    from oneoff.config.settings import Config
    from oneoff.core.command import BaseCommand
    from oneoff.core.outcome import Call
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.application import Application


class Situation(NamedTuple):
    """Where a command is about to run, and who runs it.

    Attributes:
        name: Full name of the command: "db reset".
        line: The whole command line as typed, secrets removed: "python manage.py db reset".
        environment: The effective environment.
        target: `<database>@<environment>`, read from the connected database; for a command that
            works on Redis `<host>/<number>@<environment>`.
        protected: Whether TYPE_NAME commands need `--break-glass` in this environment.
        interactive: Whether the operator can be asked.
        environment_from: Why the environment differs from ENVIRONMENT; empty if it does not.
        url: URL of the database or Redis that the command works on, without its password; empty if
            it needs none and the URL can't be read.
        is_local: Whether that database or Redis is on this machine.
        agent: The coding agent that started the process; empty if none did.
        agents: The setting ONEOFF_AGENTS.
        words: The words of the command line without the program, secrets removed.
        approvals: How many people must approve the run.
        approved: Whether they have.
    """

    name: str
    line: str
    environment: str
    target: str
    protected: bool
    interactive: bool
    environment_from: str = ""
    url: str = ""
    is_local: bool = True
    agent: str = ""
    agents: str = ""
    words: Sequence[str] = ()
    approvals: int = 0
    approved: bool = False


def situation_of(
    app: Application, call: Call, database: Database | None, *, run: Run, interactive: bool
) -> Situation:
    """Return where a command is about to run.

    Args:
        app: The project.
        call: The command.
        database: The database of the run, if it needs one.
        run: Its environment, and whether that is protected.
        interactive: Whether the terminal is interactive.
    """
    facts = database.facts if database else None
    url = _url(app, call, database)
    is_database = facts is not None and call.command.aims_at != "redis"
    name = facts.database if facts and is_database else url.name if url else "database"
    return Situation(
        name=call.name,
        line=call.line,
        environment=run.environment,
        target=f"{name}@{run.environment}",
        protected=run.protected,
        interactive=interactive and not call.options.no_input,
        environment_from=environments.why(
            app.configured_environment, run.environment, facts, app.config.environment_assumed
        ),
        url=url.safe() if url else "",
        is_local=bool(url and run.operator.agent and url.is_local),
        agent=run.operator.agent,
        agents=app.config.agents,
        words=call.argv,
        # The run that assigned a shard was approved, and its approval is used.
        approvals=0 if run.shard else call.command.approvals_needed(run),
    )


def _url(app: Application, call: Call, database: Database | None) -> DatabaseURL | RedisURL | None:
    """Return the URL of the SQL or Redis database that the command works on."""
    if call.command.aims_at == "redis":
        return redis_url(app.config)
    try:
        return database.url if database else app.database_url()
    except ConfigurationError:
        return None  # a command that needs no database runs with a wrong URL too


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


def consequence(command: BaseCommand, situation: Situation) -> str:
    """Describe what the run would do, with the name of its target."""
    return command.consequence().replace("{target}", situation.target)


def request_line(situation: Situation) -> str:
    """Return the line that requests an approval of the run."""
    words, cut = list(situation.words), len(situation.words)
    if "--" in words:
        cut = words.index("--")
    kept = [
        word
        for before, word in zip(["", *words], words[:cut], strict=False)
        if word.partition("=")[0] not in _OF_THE_RUN and before not in _WITH_VALUE
    ]
    return "python manage.py approval request --reason TEXT -- " + shlex.join(kept + words[cut:])


def line_with(line: str, *flags: str, without: Sequence[str] = ()) -> str:
    """Return the line with the flags added, and without an earlier --confirm.

    Args:
        line: A command line.
        flags: Options to add before `--`. They replace the same options of the line.
        without: More options to leave out, with their values.
    """
    words = shlex.split(line)
    cut = words.index("--") if "--" in words else len(words)
    drop = {"--confirm", *without, *(flag.partition(" ")[0] for flag in flags)}
    kept = [
        word
        for before, word in zip(["", *words], words[:cut], strict=False)
        if word.partition("=")[0] not in drop and not (before in drop and before in _WITH_VALUE)
    ]
    return " ".join([*map(shlex.quote, kept), *flags, *map(shlex.quote, words[cut:])])


_WITH_VALUE = frozenset(
    {"--break-glass", "--approval", "--reason", "--ticket", "--timeout", "--lock-wait"}
    | {"--statement-timeout", "--lock-timeout", "--idle-timeout", "--as", "--fields", "--sort"}
)
"""The global options whose value may be the next word."""
_OF_THE_RUN = _WITH_VALUE | frozenset(
    {"--confirm", "--dry-run", "--json", "--no-input", "--verbose", "-v", "--quiet", "-q"}
    | {"--debug", "--traceback", "--no-color"}
)
"""The options that belong to one run, and not to what is approved."""
