"""Show and store the environment of a database.

`system environment` calls this. `oneoff.config.environment` has the rules: which environment
applies, and which is protected.
"""

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
    """The effect of storing an environment.

    Attributes:
        before: The name that was stored; empty if there was none.
        changed: Whether the database changed (in a dry run: would change).
        warnings: Effects that the operator may not expect.
    """

    before: str
    changed: bool
    warnings: list[str]


async def describe(connection: AsyncConnection, url: DatabaseURL, config: Config) -> dict[str, Any]:
    """Return the stored, the configured and the effective environment, and why that one applies."""
    facts = await read_facts(connection, url)
    configured = config.configured_environment
    return {
        "database": facts.database,
        "stored": facts.stored_environment or None,
        "configured": configured,
        "effective": environment.effective(configured, facts),
        "because": _why(configured, facts, config.environment_assumed),
        "copy": facts.is_copy,
        "identity": facts.identity,
        "stored_identity": facts.stored_identity or None,
    }


async def store(
    connection: AsyncConnection, url: DatabaseURL, config: Config, name: str, *, dry_run: bool
) -> Change:
    """Store an environment together with the identity of this database. The caller commits.

    Args:
        connection: A connection to the database. In a dry run nothing is written.
        url: The URL of the database.
        config: Its ENVIRONMENT is needed for the warnings.
        name: Any name; an unknown one counts as production.
        dry_run: Return what would change, without changing it.

    Raises:
        UsageError: The name is not valid.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"NAME {name!r} is not a valid environment: use lower-case letters, digits, - and _",
            try_="python manage.py system environment set staging",
        )
    facts = await read_facts(connection, url)
    before = facts.stored_environment
    changed = before != name or facts.is_copy
    if changed and not dry_run:
        await store_environment(connection, facts, name)
    return Change(before, changed, list(_warnings(name, config.configured_environment)))


def _why(configured: str, facts: Facts, assumed: str) -> str:
    stored = facts.stored_environment
    applies = "so the configured one applies" + (f"; {assumed}" if assumed else "")
    if not stored:
        return f"no environment is stored, {applies}"
    if facts.is_copy:
        return f"this is a copy of a database in {stored}, {applies}"
    if stored == configured:
        return "stored and configured are the same"
    winner = environment.effective(configured, facts)
    if environment.strictness(stored) == environment.strictness(configured):
        return "both are equally strict, so the stored one applies"
    return f"{winner} is the stricter of the two"


def _warnings(name: str, configured: str) -> Any:
    if environment.is_protected(name, (environment.PRODUCTION,)) and name != environment.PRODUCTION:
        yield f"the environment {name!r} is unknown, so it counts as production"
    if environment.strictness(configured) > environment.strictness(name):
        yield (
            f"ENVIRONMENT is stricter: runs stay in {configured}, and the next "
            f"`python manage.py migrate` stores {configured} again"
        )
