"""What keeps the events of PostgreSQL in one chain: two unique indexes, and a lock with a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from oneoff.config.database_url import parse_database_url
from oneoff.database import sqlstates
from oneoff.database.engine import Database
from oneoff.runtime.audit.chain import add_event
from oneoff.services.migrations.errors import own_sqlstate
from tests.support.database import query

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)

FUNCTION = "SELECT pg_get_functiondef('oneoff_audit_append()'::regprocedure)"


@pytest.fixture
async def database(manage_environ: dict[str, str]) -> AsyncIterator[Database]:
    """Open a migrated PostgreSQL database."""
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="test")
    yield database
    await database.dispose()


async def add(connection: AsyncConnection) -> None:
    """Add an event."""
    await add_event(connection, "reviewed", {"run_id": "x", "at": datetime.now(UTC)})


@pytest.mark.parametrize("without", ["none", "oneoff_audit_pkey", "oneoff_audit_previous_key"])
async def test_work_that_does_not_see_the_newest_event_forks_no_chain(
    database: Database, manage_environ: dict[str, str], without: str
) -> None:
    """With REPEATABLE READ its snapshot is older. Each of the two indexes alone refuses it."""
    query(
        manage_environ["DATABASE_URL"],
        f"ALTER TABLE oneoff_audit DROP CONSTRAINT IF EXISTS {without}",
    )
    async with database.connect() as old:
        await old.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await old.exec_driver_sql("SELECT 1")
        async with database.transaction() as new:
            await add(new)

        with pytest.raises(IntegrityError):
            await add(old)


async def test_a_run_waits_for_the_lock_of_the_chain_no_longer_than_its_bound(
    database: Database, manage_environ: dict[str, str]
) -> None:
    """A process may hang between its event and its COMMIT. Here the bound of 10 s is 10 ms."""
    ((source,),) = query(manage_environ["DATABASE_URL"], FUNCTION)
    assert "SET lock_timeout TO '10s'" in source
    query(manage_environ["DATABASE_URL"], source.replace("'10s'", "'10ms'"))

    async with database.connect() as hanging, database.connect() as waiting:
        await add(hanging)
        with pytest.raises(DBAPIError) as caught:
            await add(waiting)

    assert sqlstates.LOCK_NOT_AVAILABLE == own_sqlstate(caught.value)
