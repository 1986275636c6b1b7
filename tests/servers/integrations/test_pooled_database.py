"""The pool of a web or worker process: a transaction for each request or job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from app.models import User
from app.project import project
from oneoff import CommandError, DataError, TemporaryError, Unavailable
from oneoff.config.settings import load_config
from oneoff.integrations.pooled_database import PooledDatabase, open_pooled_database

if TYPE_CHECKING:
    from tests.support.servers import Postgres

COUNT = text("SELECT count(*) FROM users")


def user(name: str) -> User:
    """Return a user to add."""
    return User(username=name, email=f"{name}@example.com", password_hash="!")  # noqa: S106


@pytest.fixture
async def database(manage_environ: dict[str, str]) -> AsyncIterator[PooledDatabase]:
    """Open a pool of two connections on a migrated database."""
    async with open_pooled_database(
        load_config(Path(), project, manage_environ), service="test", pool_size=2
    ) as opened:
        yield opened


async def count(database: PooledDatabase) -> int:
    """Return the number of users."""
    async with database.session() as session:
        found: int = (await session.execute(COUNT)).scalar_one()
    return found


async def test_a_session_commits_when_its_block_ends(database: PooledDatabase) -> None:
    """It rolls back if the block raises any error."""
    async with database.session() as session:
        session.add(user("ada"))
        await session.flush()
    with pytest.raises(ZeroDivisionError):
        async with database.session() as session:
            session.add(user("grace"))
            await session.flush()
            raise ZeroDivisionError

    assert 1 == await count(database)


async def test_writers_that_read_first_wait_for_each_other(database: PooledDatabase) -> None:
    """On SQLite too, where the later one would otherwise fail immediately."""

    async def add(name: str) -> None:
        async with database.session() as session:
            await session.execute(COUNT)
            await asyncio.sleep(0)
            session.add(user(name))
            await session.flush()

    await asyncio.gather(*[add(f"user-{number}") for number in range(6)])

    assert 6 == await count(database)


async def test_an_error_of_the_database_is_a_command_error(database: PooledDatabase) -> None:
    """As commands report it, without values."""
    with pytest.raises(CommandError) as raised:
        async with database.session() as session:
            for _ in range(2):
                session.add(user("secret-name"))
                await session.flush()

    assert "constraint-violation" == raised.value.code
    assert "secret-name" not in raised.value.message


async def test_an_exhausted_pool_is_a_temporary_error(
    manage_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens no more connections than its size."""
    monkeypatch.setattr("oneoff.database.engine.POOL_TIMEOUT", 0.2)
    async with (
        open_pooled_database(
            load_config(Path(), project, manage_environ), service="test", pool_size=1
        ) as database,
        database.session(),
    ):
        with pytest.raises(TemporaryError, match="it has 1, and all are in use") as raised:
            async with database.session():
                pass

    assert "pool-exhausted" == raised.value.code


async def test_connections_are_reused(postgres_server: Postgres, postgres_url: str) -> None:
    """They are replaced without an error after a restart of the server."""
    pid = text("SELECT pg_backend_pid()")
    config = load_config(Path(), project, {"DATABASE_URL": postgres_url})
    async with open_pooled_database(config, service="test", pool_size=2) as database:
        pids = []
        for _ in range(3):
            async with database.session() as session:
                pids.append((await session.execute(pid)).scalar_one())
        await asyncio.to_thread(postgres_server.restart)
        async with database.session() as session:
            after = (await session.execute(pid)).scalar_one()

    assert 1 == len(set(pids))
    assert after not in pids


async def test_a_database_that_is_down_is_unavailable() -> None:
    """With the same message as in commands."""
    url = "postgres://ada:s3cret@127.0.0.1:1/shop"
    config = load_config(Path(), project, {"DATABASE_URL": url})
    async with open_pooled_database(config, service="test", pool_size=1) as database:
        with pytest.raises(Unavailable, match=r"PostgreSQL at 127\.0\.0\.1:1 can't be reached"):
            async with database.session():
                pass


@pytest.mark.parametrize("name", ["\ud800", "a\x00b"])
async def test_text_that_cannot_be_stored_is_bad_data(
    database: PooledDatabase, manage_environ: dict[str, str], name: str
) -> None:
    """A web process can answer it with a status below 500."""
    if "\0" in name and manage_environ["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("SQLite stores a NUL")

    with pytest.raises(DataError) as caught:
        async with database.session() as session:
            await session.execute(
                text("SELECT * FROM users WHERE username = :name"), {"name": name}
            )

    assert "unstorable-text" == caught.value.code
