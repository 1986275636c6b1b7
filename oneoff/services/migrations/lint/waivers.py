"""Read the waivers of a revision: rules that it breaks on purpose, each with its reason.

In the file of the revision:

    lint_waivers = {"drop-column": "no release since 2026-09 reads it"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from oneoff.core.errors import CommandError
from oneoff.services.migrations.lint.rules import RULES, SQUAWK
from oneoff.utils.suggestions import similar

if TYPE_CHECKING:
    from alembic.script import Script

    from oneoff.services.migrations.history import History

NAME = "lint_waivers"
"""The variable in the file of a revision."""
_EXAMPLE = f'{NAME} = {{"create-index": "the table has 200 rows"}}'


def read_waivers(history: History, revision: Script) -> dict[str, str]:
    """Return the reasons by rule.

    Raises:
        CommandError: A rule is unknown, or has no reason.
    """
    given = getattr(revision.module, NAME, {})
    file = history.describe(revision.revision).file
    if not isinstance(given, Mapping):
        raise _wrong(f"{NAME} in {file} is no mapping", "it gives a reason for each rule")
    known = [*RULES, *(f"squawk/{name}" for name in SQUAWK)]
    for rule, reason in given.items():
        if rule not in known:
            others = similar(str(rule), known, limit=1)
            why = f"did you mean {others[0]}?" if others else "db lint shows the names of rules"
            raise _wrong(f"{NAME} in {file} names a rule that does not exist: {rule}", why)
        if not isinstance(reason, str) or not reason.strip():
            raise _wrong(
                f"the waiver of {rule} in {file} has no reason",
                "the reason tells reviewers why breaking the rule is safe here",
            )
    return {str(rule): reason.strip() for rule, reason in given.items()}


def _wrong(message: str, why: str) -> CommandError:
    return CommandError(message, why=why, try_=f"write {_EXAMPLE}", code="bad-waiver")
