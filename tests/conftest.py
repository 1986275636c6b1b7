"""Fixtures for all tests: servers, databases, and command lines on them.

A server is started when the first test needs it. A test with `manage`, or with a fixture based on
it, runs on SQLite and on PostgreSQL. Tests that do not depend on the database have the mark
`ON_SQLITE`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import async_sessionmaker

from oneoff.config.database_url import parse_database_url
from oneoff.config.operator_identity import AGENT_VARIABLES
from oneoff.database.engine import Database
from oneoff.testing import Manage
from tests.support.command_package import Package, importable
from tests.support.fixture_types import MakeUser, Sessions
from tests.support.people import make_people
from tests.support.redis_project import environ_on
from tests.support.rehearsal import METADATA
from tests.support.servers import (
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
from tests.support.shop import Shop
from tests.support.tally_project import NAME, ROOT, ROWS, make_tally

# A shell ignores SIGINT in what it starts in the background, and nohup ignores SIGHUP. Processes
# that a test starts would inherit that, but not a handler.
for _signal in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, lambda *_: None)

# On a disk, the tests would wait for it at each commit of SQLite and each new PostgreSQL database.
MEMORY = Path("/dev/shm")  # noqa: S108 - only the parent of private folders
MEMORY_NEEDED = 4 * 2**30  # bytes; a container has 64 MB by default, which would not be enough
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# A coding agent sets these for the processes that it starts, and may do less than a person.
for _variable in AGENT_VARIABLES:
    os.environ.pop(_variable, None)

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Run one PostgreSQL server for all tests: `.url(database)`, `.psql(sql)`, `.restart()`."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: Postgres) -> Iterator[PgBouncer]:
    """Run one pgbouncer in transaction mode for all tests: `.url(database)`."""
    with running_pgbouncer(postgres_server) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Run one Redis server for all tests: `.url`. Each test has to remove its keys."""
    with running_redis() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: Postgres) -> Iterator[str]:
    """Return the name of an empty PostgreSQL database for this test."""
    with postgres_server.database() as name:
        yield name


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_database: str) -> str:
    """Return the URL of an empty PostgreSQL database for this test."""
    return postgres_server.url(postgres_database)


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncer, postgres_database: str) -> str:
    """Return the URL of the same database as `postgres_url`, through pgbouncer."""
    return pgbouncer.url(postgres_database)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file for this test, which doesn't exist yet."""
    return f"sqlite:///{tmp_path}/test.sqlite3"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on an empty SQLite file and on an empty PostgreSQL database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project without revisions, on an empty database; runs the test on both kinds."""
    return Shop(tmp_path / "shop", database_url)


@pytest.fixture
def postgres_shop(tmp_path: Path, postgres_url: str) -> Shop:
    """Return a project without revisions, on PostgreSQL."""
    return Shop(tmp_path / "shop", postgres_url)


@pytest.fixture
def sqlite_shop(tmp_path: Path, sqlite_url: str) -> Shop:
    """Return a project without revisions, on SQLite."""
    return Shop(tmp_path / "shop", sqlite_url)


@pytest.fixture
def redis_url(redis_server: Redis) -> Iterator[str]:
    """Return the URL of an empty Redis, which is flushed after the test."""
    redis_server.flush()
    yield redis_server.url
    redis_server.flush()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """Run a cluster of three primaries for all tests: `.url`, `.nodes`."""
    with running_redis_cluster() as cluster:
        yield cluster


@pytest.fixture
def redis_cluster_url(redis_cluster: RedisCluster) -> Iterator[str]:
    """Return the URL of a node of an empty cluster, which is flushed after the test."""
    redis_cluster.flush()
    yield redis_cluster.url
    redis_cluster.flush()


@pytest.fixture
def redis_proxy(redis_server: Redis) -> Iterator[Proxy]:
    """Run a proxy for the Redis: `.url(redis_url)`, `.delay(s)`, `.cut()`, `.half_open()`."""
    with proxying(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def postgres_proxy(postgres_server: Postgres) -> Iterator[Proxy]:
    """Run a proxy for the PostgreSQL: `.url(postgres_url)`, and the methods of `redis_proxy`."""
    with proxying(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Postgres, manage_project: tuple[str, str]) -> Iterator[str]:
    """Return the name of a migrated PostgreSQL database, of which tests get copies."""
    with postgres_server.database() as name:
        environ = {"DATABASE_URL": postgres_server.url(name), "ENVIRONMENT": "test"}
        finished = asyncio.run(Manage(*manage_project, environ)("db migrate"))
        assert 0 == finished.exit_code, finished.stderr
        yield name


@pytest.fixture(scope="session")
def peopled(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory, manage_project: tuple[str, str]
) -> Path:
    """Return a SQLite file with users, accounts and sessions, of which tests get copies."""
    path = tmp_path_factory.mktemp("peopled") / "shop.sqlite3"
    make_people(manage_project, migrated_sqlite, path)
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def manage_environ(
    request: pytest.FixtureRequest,
    manage_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, str]]:
    """Run `manage` on SQLite and on PostgreSQL, each migrated and empty."""
    # A hash with the real costs is slow; tests/unit/app/test_passwords.py tests those.
    monkeypatch.setattr("app.passwords.HASHER", CHEAP_HASHER)
    if request.param == "sqlite":
        yield manage_environ
        return
    template: str = request.getfixturevalue("migrated_postgres")
    server: Postgres = request.getfixturevalue("postgres_server")
    with server.database(template) as name:
        yield {**manage_environ, "DATABASE_URL": server.url(name)}


@pytest.fixture
def make_user(manage: Manage) -> MakeUser:
    """Return a function that creates users with `user create`."""

    async def make(username: str, *, role: str = "user", active: bool = True) -> None:
        line = f"user create {username} {username}@example.com --role {role} --generate-password"
        outcome = await manage(line if active else f"{line} --inactive")
        assert 0 == outcome.exit_code, outcome.stderr

    return make


@pytest.fixture
async def sessions(manage_environ: dict[str, str]) -> AsyncIterator[Sessions]:
    """Return a factory of sessions on the test's database; as in a web process, they can commit."""
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="test")
    # On SQLite a transaction that reads and then writes must take the write lock at its start.
    engine = database.engine.execution_options(oneoff_begin="BEGIN IMMEDIATE")
    yield async_sessionmaker(engine, expire_on_commit=False)
    await database.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Create a database with the two empty tables of `rehearsal`."""
    database = Database(parse_database_url(database_url, Path(), "shop"), run_id="test")
    async with database.connect("schema") as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.commit()
    yield database
    await database.dispose()


@pytest.fixture
def on_cluster(
    migrated_sqlite: Path, tmp_path: Path, manage_project: tuple[str, str], redis_cluster_url: str
) -> Manage:
    """Run command lines on an empty Redis Cluster of three nodes."""
    return Manage(*manage_project, environ_on(redis_cluster_url, migrated_sqlite, tmp_path))


@pytest.fixture
def url(manage_environ: dict[str, str]) -> str:
    """Return the URL of a migrated database with the table `tally`, for tests of batches."""
    make_tally(manage_environ["DATABASE_URL"], ROWS)
    return manage_environ["DATABASE_URL"]


@pytest.fixture
def tally(url: str, manage_environ: dict[str, str]) -> Manage:
    """Run command lines of the tally project."""
    return Manage(NAME, str(ROOT), manage_environ)


@pytest.fixture
def command_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Create an empty package of commands, `ninth`: `.write(report=command())`, `.registry()`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with importable(tmp_path) as package:
        yield package
