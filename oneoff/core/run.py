"""Define `Run`, the facts about the current run that a command may ask for."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime


def identity_of(name: str) -> str:
    """Return the text by which people are compared: "ÄRNI", "ärni " and "ärni" are one person.

    It is the caseless match of Unicode, which a database may not know.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The person or system that runs the command.

    Attributes:
        name: The name: "ada", "ci", "deploy".
        source: Where the name comes from: setting, github-actions, gitlab-ci, heroku, sudo,
            kubernetes or os-user. For a worker it is parent-run: the name is that of the operator
            whose run assigned the work.
        agent: The coding agent that started the process for the operator; empty if none did.
    """

    name: str
    source: str
    agent: str = ""

    @property
    def known_from(self) -> str:
        """How the operator is known, for the record: "os-user, agent claude-code"."""
        return f"{self.source}, agent {self.agent}" if self.agent else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The facts about one run. `handle` gets them by naming a parameter `run`.

    Attributes:
        id: Unique and sortable by time: the UTC time of the start and ten random hex digits.
        command: The name of the command: "user promote".
        dry_run: Whether this is a dry run. Only a `DryRun.PLAN` command needs it, to return its
            plan.
        operator: The person or system that started the run.
        environment: The stricter of ENVIRONMENT and the environment stored in the database.
        protected: Whether the project protects one of the two: destructive commands then need
            `--break-glass`.
        reason: The text of `--reason`, or empty.
        ticket: The text of `--ticket`, or empty.
        started_at: When the run started, UTC.
        parent: The id of the run that assigned a shard to this worker's run; empty for other runs.
        shard: The id of the only shard that this run works on, in a worker; empty for other runs.
    """

    id: str
    command: str
    dry_run: bool
    operator: Operator
    environment: str
    reason: str
    ticket: str
    started_at: datetime
    parent: str = ""
    shard: str = ""
    protected: bool = True
