"""What a command may know about the run it is part of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who runs the command, and how that is known: never pretended.

    Attributes:
        name: "ada", "ci", "deploy".
        source: What said so: setting, kubernetes, heroku, github-actions, ssh, os-user; parent-run
            where it is the run's that it works for.
    """

    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run; `handle` gets it by asking for `run`.

    Attributes:
        id: Sortable and unique: UTC time of start and ten random hex digits.
        command: Name as typed by operators: "user promote".
        dry_run: Only a `DryRun.PLAN` command looks at it, to return its plan.
        operator: Who started it.
        environment: The stricter of the setting and what the database says.
        reason: `--reason`, or empty.
        ticket: `--ticket`, or empty.
        started_at: UTC.
        parent: Id of the run that it works for: the one that handed a shard to a worker.
        shard: Id of the only shard that it works on, in a worker; empty for every other run.
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
