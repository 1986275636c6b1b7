"""What the tests of this project's commands share: each runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.testing import Manage
from tests.commands.redis_project import environ_on
from tests.commands.rehearsal import METADATA
from tests.commands.tally_project import NAME, ROOT, ROWS, make_tally
from tests.servers import Postgres

Sessions = async_sessionmaker[AsyncSession]


class MakeUser(Protocol):
    """Creates a user NAME with the address NAME@example.com."""

    async def __call__(self, username: str, *, role: str = "user", active: bool = True) -> None: ...


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Postgres, manage_project: tuple[str, str]) -> Iterator[str]:
    """Name a PostgreSQL database that `migrate` has brought to head once; tests get copies."""
    with postgres_server.database() as name:
        environ = {"DATABASE_URL": postgres_server.url(name), "ENVIRONMENT": "test"}
        finished = asyncio.run(Manage(*manage_project, environ)("db migrate"))
        assert 0 == finished.exit_code, finished.stderr
        yield name


@pytest.fixture(params=["sqlite", "postgres"])
def manage_environ(
    request: pytest.FixtureRequest, manage_environ: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Run `manage` on both databases, migrated and empty."""
    if request.param == "sqlite":
        yield manage_environ
        return
    template: str = request.getfixturevalue("migrated_postgres")
    server: Postgres = request.getfixturevalue("postgres_server")
    with server.database(template) as name:
        yield {**manage_environ, "DATABASE_URL": server.url(name)}


@pytest.fixture
def make_user(manage: Manage) -> MakeUser:
    """Return a function that creates users by the project's own command."""

    async def make(username: str, *, role: str = "user", active: bool = True) -> None:
        line = f"user create {username} {username}@example.com --role {role} --generate-password"
        outcome = await manage(line if active else f"{line} --inactive")
        assert 0 == outcome.exit_code, outcome.stderr

    return make


@pytest.fixture
async def sessions(manage_environ: dict[str, str]) -> AsyncIterator[Sessions]:
    """Open sessions on the test's database that commit for themselves, as a web process does."""
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="test")
    # On SQLite a writer that reads first has to be the only one from the start.
    engine = database.engine.execution_options(oneoff_begin="BEGIN IMMEDIATE")
    yield async_sessionmaker(engine, expire_on_commit=False)
    await database.dispose()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Make a database with the two empty tables of `rehearsal`."""
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
    """Return the URL of a migrated database with the tally in it: for the tests of batches."""
    make_tally(manage_environ["DATABASE_URL"], ROWS)
    return manage_environ["DATABASE_URL"]


@pytest.fixture
def tally(url: str, manage_environ: dict[str, str]) -> Manage:
    """Run command lines of the tally's project."""
    return Manage(NAME, str(ROOT), manage_environ)
