"""Decide which environment a run is in: the stricter of ENVIRONMENT and the stored one.

Pure functions. `oneoff.database.schema.facts` reads and stores the facts of the database;
`oneoff.services.environment` and the command `system environment` show and change them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

DEVELOPMENT = "development"
PRODUCTION = "production"
DEVELOPER = frozenset({DEVELOPMENT, "local", "dev", "develop"})
"""The names of a developer's own environment; templates of applications use the short ones."""
_RELAXED = {**dict.fromkeys((*DEVELOPER, "test", "testing", "ci"), 0), "staging": 1, "stage": 1}
_STRICTEST = 2


class Facts(NamedTuple):
    """Facts about the connected database, read from the database itself.

    Attributes:
        database: The name of the database, as in `<database>@<environment>`.
        identity: `<cluster>/<database>`; it differs between a database and a copy of it.
        stored_environment: The environment that the last `migrate` stored; empty if none did.
        stored_identity: The identity at the time when the environment was stored.
        schema_ready: Whether the framework's tables exist and are current.
        server: When the PostgreSQL server was started; empty on SQLite. It distinguishes servers
            for roles that can't read the identity of the cluster.
        open_runs: The records of runs that are not closed, on PostgreSQL: "id", "host", "pid",
            "process_started" and "started_at", an ISO 8601 text.
    """

    database: str
    identity: str = ""
    stored_environment: str = ""
    stored_identity: str = ""
    schema_ready: bool = False
    server: str = ""
    open_runs: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_copy(self) -> bool:
        """Whether this is a restored dump. Its stored environment is that of another database."""
        return bool(self.stored_environment) and not _same(self.stored_identity, self.identity)

    def stores(self, environment: str) -> bool:
        """Return whether the database stores that it belongs to this environment."""
        return self.stored_environment == environment and not self.is_copy


def same_database(one: Facts, other: Facts) -> bool:
    """Return whether two connections that are open now lead to the same database."""
    if all(facts.identity.partition("/")[0] for facts in (one, other)):
        return one.identity == other.identity
    return _same(one.identity, other.identity) and one.server == other.server


def _same(stored: str, here: str) -> bool:
    """Compare two identities. The cluster is compared only if both contain it."""
    stored_cluster, _, stored_database = stored.partition("/")
    cluster, _, database = here.partition("/")
    if stored_cluster and cluster:
        return stored == here
    return stored_database == database


def strictness(environment: str) -> int:
    """Return how strict an environment is. An unknown name is as strict as production."""
    return _RELAXED.get(environment, _STRICTEST)


def configured(environment: str, *, database_url_set: bool, apart: bool = False) -> str:
    """Return the configured environment.

    If neither is set, the database is a developer's embedded SQLite file. A DATABASE_URL without
    an ENVIRONMENT of its own may point to any database, so it counts as production.

    Args:
        environment: ENVIRONMENT; empty if it is not set.
        database_url_set: Whether DATABASE_URL is set.
        apart: Whether ENVIRONMENT is in `.env`, and DATABASE_URL is not. Then it describes another
            database, and counts only if it is as strict as production.
    """
    if not database_url_set:
        return environment or DEVELOPMENT
    is_unknown = not environment or (apart and strictness(environment) < _STRICTEST)
    return PRODUCTION if is_unknown else environment


def effective(setting: str, facts: Facts | None) -> str:
    """Return the stricter of the setting and the stored environment. A copy uses the setting.

    If both are equally strict, the stored one counts.
    """
    return max(reversed(claimed(setting, facts)), key=strictness)


def claimed(setting: str, facts: Facts | None) -> list[str]:
    """Return the environments that the setting and the database name: one or two."""
    if facts is None or not facts.stored_environment or facts.is_copy:
        return [setting]
    return [setting, facts.stored_environment]


def protecting(setting: str, facts: Facts | None) -> list[str]:
    """Return the environments of which each one alone protects the database.

    They include that of the original of a copy: production that was moved by a dump, or upgraded
    with pg_upgrade, looks like a copy until its environment is stored again.
    """
    stored = facts.stored_environment if facts else ""
    return [setting, stored] if stored else [setting]


def why(setting: str, effective_one: str, facts: Facts | None, assumed: str = "") -> str:
    """Return why a run is in its environment; empty if ENVIRONMENT alone is the reason.

    Args:
        setting: The configured environment.
        effective_one: The environment of the run.
        facts: The facts of the database, if the run has connected to one.
        assumed: Why the configured environment is not that of ENVIRONMENT, if it is not.
    """
    if facts and facts.is_copy and facts.stored_environment != setting:
        return (
            f"the database is a copy of one in {facts.stored_environment}, until "
            "`python manage.py migrate` stores its new environment"
        )
    changes = "`python manage.py system environment set` changes the stored one"
    if setting != effective_one:
        return (
            f"the environment stored in the database is {effective_one}, and ENVIRONMENT is "
            f"{setting}; {changes}"
        )
    if assumed and facts and facts.stored_environment == effective_one:
        return f"the environment stored in the database is {effective_one}; {changes}"
    return assumed


def is_protected(environment: str, protect: Collection[str]) -> bool:
    """Return whether destructive commands need `--break-glass` here.

    Args:
        environment: The effective one.
        protect: The environments that the project protects. An unknown one counts as production.
    """
    unknown = environment not in _RELAXED and environment != PRODUCTION
    return environment in protect or (unknown and PRODUCTION in protect)
