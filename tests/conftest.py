"""Servers and databases for every test; a server starts when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import (
    PgBouncer,
    Postgres,
    Proxy,
    Redis,
    RedisCluster,
    proxying,
    running_pgbouncer,
    running_postgres,
    running_redis,
    running_redis_cluster,
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Run one PostgreSQL for the whole run: `.url(database)`, `.psql(sql)`, `.restart()`."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: Postgres) -> Iterator[PgBouncer]:
    """Run one pgbouncer in transaction mode: `.url(database)`."""
    with running_pgbouncer(postgres_server) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Run one Redis for the whole run: `.url`; what it holds is for each test to remove."""
    with running_redis() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: Postgres) -> Iterator[str]:
    """Name an empty PostgreSQL database of this test's own."""
    with postgres_server.database() as name:
        yield name


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_database: str) -> str:
    """Return the URL of this test's own PostgreSQL database."""
    return postgres_server.url(postgres_database)


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncer, postgres_database: str) -> str:
    """Return the URL of the same database as `postgres_url`, through pgbouncer."""
    return pgbouncer.url(postgres_database)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file of this test's own, which doesn't exist yet."""
    return f"sqlite:///{tmp_path}/test.sqlite3"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on an empty SQLite file and on an empty PostgreSQL database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def redis_url(redis_server: Redis) -> Iterator[str]:
    """Return the URL of an empty Redis; what the test puts there is gone after it."""
    redis_server.flush()
    yield redis_server.url
    redis_server.flush()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """Run a cluster of three primaries: `.url`, `.nodes`; see `redis_cluster_url`."""
    with running_redis_cluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster_url(redis_cluster: RedisCluster) -> Iterator[str]:
    """Return the URL of a node of an empty cluster; what the test puts there is gone after it."""
    redis_cluster.flush()
    yield redis_cluster.url
    redis_cluster.flush()


@pytest.fixture
def redis_proxy(redis_server: Redis) -> Iterator[Proxy]:
    """Put a proxy before the Redis: `.url(redis_url)`, `.delay(s)`, `.cut()`, `.half_open()`."""
    with proxying(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def postgres_proxy(postgres_server: Postgres) -> Iterator[Proxy]:
    """Put a proxy before the PostgreSQL: `.url(postgres_url)`, and the rest as `redis_proxy`."""
    with proxying(postgres_server.port) as proxy:
        yield proxy
