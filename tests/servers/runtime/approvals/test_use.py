"""An approval is used in the transaction that inserts the row of the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import Refused
from oneoff.core.options import GlobalOptions
from oneoff.core.outcome import Call
from oneoff.database.engine import Database
from oneoff.database.tables import approval_uses, approvals, runs
from oneoff.runtime.application import load_application
from oneoff.runtime.approvals.state import find
from oneoff.runtime.approvals.use import Use
from oneoff.runtime.audit.record import RunRecord
from oneoff.utils.redaction import Redactor

APP = load_application("app.project:project", str(Path(__file__).parents[4]), {})


@pytest.fixture
async def migrated(manage_environ: dict[str, str]) -> AsyncIterator[Database]:
    """Open a migrated database with an approval that is `a-0123456789`."""
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="test")
    texts = "command argv arguments target environment code_version binding plan requester_source"
    run = APP.new_run("hello", GlobalOptions())
    row = dict.fromkeys(texts.split(), json.dumps("x")) | {
        "id": "a-0123456789",
        "hash": "x",
        "needed": 1,
        "standing": False,
        "requester": "ada",
        "reason": "x",
        "requested_at": run.started_at,
        "expires_at": run.started_at,
    }
    async with database.transaction("test") as connection:
        await connection.execute(insert(approvals).values(row))
    yield database
    await database.dispose()


async def start(database: Database) -> bool:
    """Record the start of a run that uses the approval; return whether it may start."""
    entry, _ = APP.registry.find(["hello"])
    options = GlobalOptions()
    call = Call("hello", APP.registry.load(entry)(), options, ["hello"], "python manage.py hello")
    async with RunRecord.open(database, Redactor()) as record:
        await record.read_facts()
        async with database.connect("look") as connection:
            use = Use(await find(connection, "0123456789"), 0.0)
        run = APP.new_run("hello", options)
        with suppress(Refused):
            await record.insert_row(run, call, code_version="", approval=use)
            return True
        assert not record.may_exist
        # The refusal is recorded, on the same connection.
        await record.insert_row(run, call, code_version="")
    return False


async def count(database: Database) -> tuple[int, int]:
    """Return the number of uses, and that of records."""
    async with database.connect("look") as connection:
        uses = await connection.scalar(select(func.count()).select_from(approval_uses))
        recorded = await connection.scalar(
            select(func.count()).select_from(runs).where(runs.c.command == "hello")
        )
    return uses or 0, recorded or 0


async def test_of_fifty_runs_at_the_same_time_one_starts(migrated: Database) -> None:
    """All have seen that it was not used; the others are recorded as refused."""
    started = await asyncio.gather(*(start(migrated) for _ in range(50)))

    assert [True] == [one for one in started if one]
    assert (1, 50) == await count(migrated)


async def test_an_approval_that_was_withdrawn_meanwhile_starts_no_run(migrated: Database) -> None:
    """It was valid when the run was admitted."""
    async with migrated.transaction("test") as connection:
        await connection.execute(update(approvals).values(ended_as="withdrawn"))

    assert not await start(migrated)
    assert (0, 1) == await count(migrated)


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_run_waits_for_somebody_who_rejects_its_approval_now(migrated: Database) -> None:
    """Otherwise it would use what is rejected when it starts."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    waits += " AND datname = current_database()"
    async with migrated.connect("test") as rejecting, migrated.autocommit("look") as look:
        await rejecting.execute(update(approvals).values(ended_as="rejected"))
        run = asyncio.create_task(start(migrated))
        while not run.done():
            if (await look.exec_driver_sql(waits)).scalar_one():
                break
        await rejecting.commit()

    assert not await run
    assert (0, 1) == await count(migrated)
