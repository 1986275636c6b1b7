"""A pooler, a password and encryption cost round trips only when a connection is opened."""

from __future__ import annotations

import asyncpg

from oneoff.testing import Manage
from tests.servers.database.test_url_parameters import tls_server
from tests.support.bursts import far
from tests.support.servers import PgBouncer, Postgres

__all__ = ["tls_server"]

ENVIRON = {"ENVIRONMENT": "test", "LOG_LEVEL": "error"}
DIRECT = 13
"""The round trips of `user list` after its connection was opened."""


async def count(manage_project: tuple[str, str], port: int, url: str) -> int:
    """Return the round trips of `user list` besides those to open and to close its connection."""
    with far(port) as proxy:
        url = proxy.url(url)
        with proxy.record() as trace:
            done = await Manage(*manage_project, {**ENVIRON, "DATABASE_URL": url})("user list")
        with proxy.record() as opening:
            await (await asyncpg.connect(url)).close()
    assert 0 == done.exit_code, done.stderr
    assert 1 == len(trace.connections)
    return len(trace.bursts) - len(opening.bursts)


async def test_behind_a_pooler_a_command_waits_as_often(
    manage_project: tuple[str, str],
    migrated_postgres: str,
    postgres_server: Postgres,
    pgbouncer: PgBouncer,
) -> None:
    """In transaction mode, each transaction may reach another server process."""
    with postgres_server.database(migrated_postgres) as name:
        pooled = await count(manage_project, pgbouncer.port, pgbouncer.url(name))

        assert DIRECT == pooled


async def test_with_encryption_a_command_waits_as_often(
    manage_project: tuple[str, str], tls_server: Postgres
) -> None:
    """The messages are encrypted, and so are those of the password."""
    with tls_server.database() as name:
        url = f"{tls_server.url(name)}?sslmode=require"
        migrated = await Manage(*manage_project, {**ENVIRON, "DATABASE_URL": url})("migrate")
        assert 0 == migrated.exit_code, migrated.stderr

        assert DIRECT == await count(manage_project, tls_server.port, url)
