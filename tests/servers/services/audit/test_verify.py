"""`verify` finds each change to the record of runs that oneoff did not make."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from oneoff.config.database_url import parse_database_url
from oneoff.database.engine import Database
from oneoff.database.tables import audit, runs, shell_inputs
from oneoff.runtime.audit.chain import add_event
from oneoff.services.audit.verify import verify
from oneoff.testing import Manage
from oneoff.utils.hash_chain import Head, canonical_json, next_hash
from tests.support.fixture_types import MakeUser

Rows = list[dict[str, Any]]

TAMPERINGS = int(os.environ.get("TAMPERINGS", "60"))
COMMANDS = (
    "user promote ada admin --confirm",
    "user promote ada user --dry-run",
    "user promote nobody admin --confirm",
    "user list",
    ["shell", "--write", "--confirm", "-c", "print(1)"],
    "user promote ada user",
)


class Record:
    """The rows of the record, which a test changes and stores."""

    def __init__(self, events: Rows, stored: Rows, inputs: Rows) -> None:
        self.events, self.runs, self.inputs = events, stored, inputs
        self.head = Head(events[-1]["seq"], events[-1]["hash"])

    def hash_from(self, at: int, until: int | None = None) -> None:
        """Compute the links from one event on, as somebody would who hides a change."""
        for event, before in list(zip(self.events, [None, *self.events], strict=False))[at:until]:
            event["previous"] = before["hash"] if before else ""
            event["hash"] = next_hash(event["previous"], event["event"])

    def project(self) -> None:
        """Make the rows of the runs from the events."""
        made: dict[str, dict[str, Any]] = {}
        for event in self.events:
            facts = json.loads(event["event"])
            run_id = facts.pop("run_id")
            if facts.pop("kind") in {"intended", "closed"} and run_id:
                made.setdefault(run_id, {"id": run_id, "message": ""}).update(facts)
        for row in made.values():
            for name in row.keys() & {"started_at", "finished_at"}:
                row[name] = datetime.fromisoformat(row[name])
        names = runs.c.keys()
        self.runs = [{name: row.get(name) for name in names} for row in made.values()]


def edit(event: dict[str, Any], rng: random.Random) -> None:
    """Change one fact of an event."""
    facts = json.loads(event["event"])
    name = rng.choice([name for name in sorted(facts) if not name.endswith(("_at", "at"))])
    value = facts[name]
    if isinstance(value, bool):
        facts[name] = not value
    else:
        facts[name] = value + 1 if isinstance(value, int) else f"{value or ''}x"
    event["event"] = canonical_json(facts)


def flip_event(record: Record, rng: random.Random) -> int:
    """Change an event; perhaps hide it in its hash, and in all later ones, and in the runs."""
    at = rng.randrange(1, len(record.events))
    edit(record.events[at], rng)
    if rng.random() < 0.7:
        record.hash_from(at, None if rng.random() < 0.5 else at + 1)
    return at


def flip_run(record: Record, rng: random.Random) -> int:
    """Change a column of a run."""
    row = rng.choice(record.runs)
    name = rng.choice(["operator", "argv", "message", "environment", "rows", "exit_code", "ticket"])
    row[name] = (row[name] or 0) + 1 if name in {"rows", "exit_code"} else f"{row[name]}x"
    return next(at for at, event in enumerate(record.events) if event["run_id"] == row["id"])


def remove_events(record: Record, rng: random.Random) -> int:
    """Remove some events, with or without the gap in the numbers."""
    at = rng.randrange(1, len(record.events))
    count = rng.randrange(1, 4)
    del record.events[at : at + count]
    if rng.random() < 0.5:
        for number, event in enumerate(record.events, start=1):
            event["seq"] = number
        record.hash_from(at)
    return at


def insert_event(record: Record, rng: random.Random) -> int:
    """Insert a copy of an event under another run."""
    at = rng.randrange(1, len(record.events))
    event = dict(record.events[at])
    event["run_id"] = f"forged-{rng.randrange(1000)}"
    event["event"] = canonical_json(json.loads(event["event"]) | {"run_id": event["run_id"]})
    record.events.insert(at, event)
    for number, later in enumerate(record.events, start=1):
        later["seq"] = number
    record.hash_from(at, None if rng.random() < 0.5 else at + 1)
    event["previous"] += "" if rng.random() < 0.5 else " "
    return at


def insert_run(record: Record, rng: random.Random) -> int:
    """Insert a run that never was."""
    record.runs.append({**rng.choice(record.runs), "id": "forged"})
    return -1


def remove_run(record: Record, rng: random.Random) -> int:
    """Remove a run, but not its events."""
    record.runs.pop(rng.randrange(len(record.runs)))
    return -1


def reorder(record: Record, rng: random.Random) -> int:
    """Exchange two events, and perhaps compute their hashes."""
    at, other = sorted(rng.sample(range(1, len(record.events)), 2))
    one, two = record.events[at], record.events[other]
    record.events[at], record.events[other] = two | {"seq": one["seq"]}, one | {"seq": two["seq"]}
    if rng.random() < 0.5:
        record.hash_from(at, other)
    return at


def cut_tail(record: Record, rng: random.Random) -> int:
    """Remove the newest events."""
    at = rng.randrange(1, len(record.events))
    del record.events[at:]
    return at - 1


def change_input(record: Record, rng: random.Random) -> int:
    """Change what was typed into a shell."""
    rng.choice(record.inputs)["source"] = "print(2)"
    return -1


KINDS: dict[Callable[[Record, random.Random], int], bool] = {
    flip_event: True,
    flip_run: False,
    remove_events: True,
    insert_event: True,
    insert_run: False,
    remove_run: False,
    reorder: True,
    cut_tail: True,
    change_input: False,
}
"""The changes, and whether the runs may be made again from the changed events."""


@pytest.fixture
async def recorded(
    manage: Manage, make_user: MakeUser, manage_environ: dict[str, str]
) -> AsyncIterator[Database]:
    """Yield a database in which some commands were run."""
    await make_user("ada")
    for command in COMMANDS:
        await manage(command)
    url = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop")
    database = Database(url, run_id="look")
    yield database
    await database.dispose()


async def store(connection: Any, record: Record) -> None:
    """Write the rows as somebody would who owns the database: without its triggers."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
    else:
        for event in ("update", "delete"):
            await connection.execute(text(f"DROP TRIGGER oneoff_audit_refuse_{event}"))
    for table, rows in ((audit, record.events), (runs, record.runs), (shell_inputs, record.inputs)):
        await connection.execute(delete(table))
        if rows:
            await connection.execute(insert(table), rows)


async def read(connection: Any) -> Record:
    """Read the record."""
    tables = (audit.select().order_by(audit.c.seq), select(runs), select(shell_inputs))
    return Record(*[[*map(dict, (await connection.execute(q)).mappings())] for q in tables])


async def test_a_record_that_nobody_changed_verifies(recorded: Database) -> None:
    """Its head is the newest event."""
    async with recorded.connect() as connection:
        record = await read(connection)
        done = await verify(connection, record.head)

    assert ([], record.head) == (done.findings, done.head)
    assert (len(record.events), len(record.runs), 0) == (done.events, done.runs, done.earlier_runs)


async def test_each_random_change_is_found_with_its_place(recorded: Database) -> None:
    """Changed, removed, inserted and reordered events and runs, hidden as well as possible."""
    missed = []
    for seed in range(TAMPERINGS):
        rng = random.Random(seed)
        change = list(KINDS)[seed % len(KINDS)]
        async with recorded.connect() as connection:
            record = await read(connection)
            before = [dict(event) for event in record.events]
            at = change(record, rng)
            if KINDS[change] and rng.random() < 0.5:
                record.project()
            try:
                await store(connection, record)
            except IntegrityError:  # two events with the same number, or after the same event
                continue
            done = await verify(connection, record.head)
        places = " ".join(" ".join(finding) for finding in done.findings)
        near = [event["seq"] for event in before[max(at, 0) : at + 5]]
        expected = [f"event {seq}" for seq in (*near, record.head.seq)]
        expected += [event["run_id"] for event in before[max(at, 0) : at + 2]]
        if not done.findings or (
            at >= 0 and not any(place in places for place in expected if place)
        ):
            missed.append((seed, change.__name__, done.findings))

    assert [] == missed
    print(f"{TAMPERINGS} changes tried, all found")


async def test_a_run_that_was_taken_for_dead_may_report_its_end(recorded: Database) -> None:
    """It was alive, but had lost its lock. A second end of any other run is a finding."""
    async with recorded.transaction("audit") as connection:
        run_id = await connection.scalar(select(runs.c.id).where(runs.c.status == "succeeded"))
        facts = {"run_id": run_id, "rows": 7}
        change = update(runs).where(runs.c.id == run_id)
        for status in ("abandoned", "failed"):
            ended = change.values(status=status, rows=7)
            await add_event(connection, "closed", facts | {"status": status}, change=ended)
        problems = [one.problem for one in (await verify(connection)).findings]

    assert ["it was closed twice, with two different ends"] == problems


async def test_rows_of_the_chain_can_not_be_changed(recorded: Database) -> None:
    """Triggers refuse it, also for the owner of the table."""
    statements = [audit.update().values(kind="x"), audit.delete()]
    if recorded.url.dialect == "postgresql":
        statements.append(text("TRUNCATE oneoff_audit"))  # type: ignore[arg-type]
    for statement in statements:
        async with recorded.connect() as connection:
            with pytest.raises(Exception, match="rows can only be added to oneoff_audit"):
                await connection.execute(statement)


async def test_fifty_writers_keep_one_chain(recorded: Database) -> None:
    """Each of them changes a row and adds its event at the same time as the others."""
    is_sqlite = recorded.url.dialect == "sqlite"
    both = asyncio.Barrier(1 if is_sqlite else 50)  # SQLite has one writer at a time
    open_connection = recorded.transaction if is_sqlite else recorded.autocommit
    async with recorded.connect() as connection:
        first = (await read(connection)).runs[0]["id"]

    async def write(number: int) -> None:
        row = {"run_id": first, "number": number, "at": recorded_at, "source": "1"}
        async with open_connection() as own:
            await both.wait()
            await add_event(own, "input", row, change=insert(shell_inputs).values(row))

    async with recorded.connect() as connection:
        recorded_at = (await read(connection)).runs[0]["started_at"]
    await asyncio.gather(*(write(number) for number in range(100, 150)))

    async with recorded.connect() as connection:
        done = await verify(connection)
    assert [] == done.findings


async def test_the_line_of_a_run_in_the_log_names_its_newest_event(
    recorded: Database, manage: Manage
) -> None:
    """`audit verify --head` takes it."""
    done = await manage("user list -v")

    (line,) = [line for line in done.stderr.splitlines() if '"run.unchanged"' in line]
    async with recorded.connect() as connection:
        assert str((await read(connection)).head) == json.loads(line)["audit_head"]
