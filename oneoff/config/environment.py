"""Which environment a run is in: the stricter of what is set and what the database says."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

DEVELOPMENT = "development"
PRODUCTION = "production"
_RELAXED = {"development": 0, "test": 0, "ci": 0, "staging": 1}
_STRICTEST = 2


class Facts(NamedTuple):
    """What the connected database says about itself.

    Attributes:
        database: Its name, as the operator types it in `<database>@<environment>`.
        identity: Tells this database from a copy of it.
        stored_environment: What the last `migrate` stored; empty when nothing did.
        stored_identity: The identity at that time.
        schema_ready: Whether the framework's tables are there and current.
    """

    database: str
    identity: str = ""
    stored_environment: str = ""
    stored_identity: str = ""
    schema_ready: bool = False

    @property
    def is_copy(self) -> bool:
        """Whether this is a restored dump: the environment it names is another database's."""
        return bool(self.stored_environment) and not _same(self.stored_identity, self.identity)


def _same(stored: str, here: str) -> bool:
    """Compare `<cluster>/<database>`; the cluster counts where both know it."""
    stored_cluster, _, stored_database = stored.partition("/")
    cluster, _, database = here.partition("/")
    if stored_cluster and cluster:
        return stored == here
    return stored_database == database


def strictness(environment: str) -> int:
    """Return how careful to be; a name nobody knows counts as production."""
    return _RELAXED.get(environment, _STRICTEST)


def configured(environment: str, *, database_url_set: bool) -> str:
    """Return the environment as configured.

    With nothing set at all the embedded SQLite file is a developer's; a DATABASE_URL without
    ENVIRONMENT might be anybody's, so it counts as production.
    """
    return environment or (PRODUCTION if database_url_set else DEVELOPMENT)


def effective(setting: str, facts: Facts | None) -> str:
    """Return the stricter of the setting and what the database stores about itself."""
    if facts is None or not facts.stored_environment or facts.is_copy:
        return setting
    return max(setting, facts.stored_environment, key=strictness)


def why(setting: str, effective_one: str) -> str:
    """Say why a run is not in the environment that is configured; empty where it is."""
    if setting == effective_one:
        return ""
    return f"the database says that it is {effective_one}'s, and ENVIRONMENT says {setting}"


def is_protected(environment: str, protect: Collection[str]) -> bool:
    """Return whether destructive commands need `--break-glass` here.

    Args:
        environment: The effective one.
        protect: The names the project protects; a name nobody knows counts as production.
    """
    unknown = environment not in _RELAXED and environment != PRODUCTION
    return environment in protect or (unknown and PRODUCTION in protect)
