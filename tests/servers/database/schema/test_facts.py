"""Two URLs are compared by what their roles may know."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import ConfigurationError
from oneoff.database.engine import Database
from oneoff.database.schema.facts import check_same_database, read_facts
from tests.support.servers import Postgres


async def compare(server: Postgres, connected: str, main: str) -> None:
    """Compare two databases; only the role of the second may read the cluster's identity."""
    user, password = f"limited_{connected}", "secret"
    server.psql(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
    server.psql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", connected)
    first, second = (
        parse_database_url(server.url(name), Path(), "shop") for name in (connected, main)
    )
    first = first._replace(user=user, password=password)
    database = Database(first, run_id="test")
    try:
        async with database.connect() as connection:
            facts = await read_facts(connection, first)
        assert facts.identity.startswith("/")
        await check_same_database(facts, first, second)
    finally:
        await database.dispose()
        server.psql(f"DROP ROLE {user}")


async def test_a_role_that_may_not_read_the_identity_is_no_mismatch(
    postgres_server: Postgres, postgres_database: str
) -> None:
    """What is not known does not differ."""
    await compare(postgres_server, postgres_database, postgres_database)


async def test_another_database_is_noticed_without_the_identity_of_the_cluster(
    postgres_server: Postgres, postgres_database: str
) -> None:
    """Every role may read the number of its database."""
    with postgres_server.database() as other, pytest.raises(ConfigurationError) as caught:
        await compare(postgres_server, postgres_database, other)

    assert "migration-url-mismatch" == caught.value.code
