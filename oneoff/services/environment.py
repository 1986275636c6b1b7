"""Which environment a database belongs to: what it says, what is set, and which of them counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.config import environment
from oneoff.core.errors import UsageError
from oneoff.database.schema.facts import read_facts, store_environment

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.environment import Facts
    from oneoff.config.settings import Config

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Change(NamedTuple):
    """What storing a name made different.

    Attributes:
        before: What was stored; empty if nothing was.
        changed: Whether anything is different now.
        warnings: What the operator may not expect.
    """

    before: str
    changed: bool
    warnings: list[str]


async def describe(connection: AsyncConnection, url: DatabaseURL, config: Config) -> dict[str, Any]:
    """Return what is stored, what is configured, which counts, and why."""
    facts = await read_facts(connection, url)
    configured = config.configured_environment
    return {
        "database": facts.database,
        "stored": facts.stored_environment or None,
        "configured": configured,
        "effective": environment.effective(configured, facts),
        "because": _why(configured, facts),
        "copy": facts.is_copy,
        "identity": facts.identity,
        "stored_identity": facts.stored_identity or None,
    }


async def store(
    connection: AsyncConnection, url: DatabaseURL, config: Config, name: str, *, dry_run: bool
) -> Change:
    """Store a name, with the identity of this database; the caller commits.

    Args:
        connection: In a dry run nothing is written.
        url: Where it leads.
        config: What is set counts too, where it is stricter.
        name: Any; one that nobody knows counts as production.
        dry_run: Only say what would change.

    Raises:
        UsageError: It can't be a name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"NAME {name!r} is not the name of an environment: small letters, digits, - and _",
            try_="python manage.py system environment set staging",
        )
    facts = await read_facts(connection, url)
    before = facts.stored_environment
    changed = before != name or facts.is_copy
    if changed and not dry_run:
        await store_environment(connection, facts, name)
    return Change(before, changed, list(_warnings(name, config.configured_environment)))


def _why(configured: str, facts: Facts) -> str:
    stored = facts.stored_environment
    if not stored:
        return "nothing is stored, so what is configured counts"
    if facts.is_copy:
        return f"this is a copy of a database in {stored}, so what is configured counts"
    if stored == configured:
        return "stored and configured are the same"
    winner = environment.effective(configured, facts)
    if environment.strictness(stored) == environment.strictness(configured):
        return "stored and configured are as strict as each other, so what is configured counts"
    return f"{winner} is the stricter of the two"


def _warnings(name: str, configured: str) -> Any:
    if environment.is_protected(name, (environment.PRODUCTION,)) and name != environment.PRODUCTION:
        yield f"nobody knows an environment {name!r}, so it counts as production"
    if environment.strictness(configured) > environment.strictness(name):
        yield (
            f"{configured} is configured and stricter: runs stay in {configured}, and the next "
            "`python manage.py migrate` stores it again"
        )
