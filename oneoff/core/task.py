"""Define `Task`: what a command declares to be in the catalogue of admin tasks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

Category = Literal["migration", "data-fix", "maintenance", "emergency", "analytics", "backup"]
CATEGORIES: tuple[str, ...] = get_args(Category)
Check = Callable[..., Awaitable[None]]
"""A coroutine function of the project. Its parameters are resources; it raises `CheckFailed`."""

ID = re.compile(r"ADM-[0-9]{3,}(-revert)?")
"""`ADM-002`, and `ADM-002-revert` for the task that undoes it."""

_ALWAYS = ("owner", "author", "created", "invoked_by", "approval", "expected_duration")
_CHECKED = ("services", "data", "image", "compute", "checks", "verify", "afterwards")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "migration": (*_ALWAYS, *_CHECKED),
    "data-fix": (*_ALWAYS, *_CHECKED),
    "maintenance": (*_ALWAYS, "services", "afterwards"),
    "emergency": (*_ALWAYS, "services", "afterwards"),
    "analytics": (*_ALWAYS, "data"),
    "backup": (*_ALWAYS, "data", "image", "compute", "verify", "afterwards"),
}
"""The fields that a task of each category must declare."""


@dataclass(frozen=True)
class Task:
    """The entry of a command in the catalogue of admin tasks: its class attribute `task`.

    `commands check` reports what is missing. Texts are shown on the page of the task.

    Args:
        id: Its number: "ADM-002", or "ADM-002-revert" for the task that undoes ADM-002.
        category: The kind of task; it decides which other fields are needed.
        owner: The team that answers for it.
        author: Who wrote it.
        created: The date on which it was written: "2026-01-31".
        invoked_by: Who may run it, and when.
        approval: Who approves it, and how.
        environments: Where it is an admin task: elsewhere its `checks` and `verify` are not
            called. Empty for everywhere.
        data: The tables that it changes or reads, each with an estimate of its rows.
        services: What it uses, or affects: "PostgreSQL", "web".
        variables: Environment variables that it needs besides those of the application.
        credentials: The rights that it needs.
        image: The image to run it in.
        compute: The processor and memory that it needs.
        expected_duration: How long it takes.
        command: The exact command line, without `python manage.py`. By default the first example
            of the command that is no dry run.
        rollback: The command line that undoes it.
        irreversible: Why nothing undoes it.
        checks: What must hold before it runs: names of built-in checks, or functions.
        verify: Raises `CheckFailed` if the work is not right. It is called before the commit.
        afterwards: What to look at when it has run.
    """

    id: str
    _: KW_ONLY
    category: Category
    owner: str = ""
    author: str = ""
    created: str = ""
    invoked_by: str = ""
    approval: str = ""
    environments: Sequence[str] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    services: Sequence[str] = ()
    variables: Sequence[str] = ()
    credentials: Sequence[str] = ()
    image: str = ""
    compute: str = ""
    expected_duration: str = ""
    command: str = ""
    rollback: str = ""
    irreversible: str = ""
    checks: Sequence[str | Check] = ()
    verify: Check | None = None
    afterwards: str = ""

    def applies_in(self, environment: str) -> bool:
        """Return whether it is an admin task in this environment.

        Args:
            environment: Its name: "production".
        """
        return not self.environments or environment in self.environments

    def checks_by_name(self) -> dict[str, str | Check]:
        """Return the checks by the names that `--waive` takes: `backup-completed`."""
        return {check if isinstance(check, str) else name_of(check): check for check in self.checks}


def name_of(function: Any) -> str:
    """Return the name of a check as an operator types it: `no_orders` is `no-orders`."""
    return str(function.__name__).strip("_").replace("_", "-")


def meaning_of(function: Any) -> str:
    """Return the first line of the docstring of a check."""
    return (function.__doc__ or "").strip().partition("\n")[0]
