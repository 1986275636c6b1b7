"""Verify that nobody has changed what is recorded about runs.

The chain is computed again, and each run and each input of a shell is compared with its events. A
page of them is read together with its events in one statement, and all statements see the same
rows, because runs and archives go on meanwhile.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exists, literal, null, select, union_all

from oneoff.core.outcome import Status
from oneoff.database.tables import audit, runs, shell_inputs
from oneoff.utils.hash_chain import Head, canonical_json, next_hash, read_event
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.database.engine import Database

CLOCK_SKEW = timedelta(hours=1)
"""By which the clocks of two machines may differ that recorded runs when the chain began."""
PAGE = 1000  # events that are read at once
_RUNS = 200  # runs that are read at once, with their events
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_NEVER = "0001-01-01T00:00:00+00:00"
_INPUT = ("number", "at", "source")
_CLOSING = ("status", "exit_code", "rows", "message", "finished_at", "duration_ms")
"""The facts of a `closed` event; it can't change others of the run."""


class Finding(NamedTuple):
    """A place where the record is not as it was written.

    Attributes:
        place: "event 12", "run 20260131T120000-0123456789", ...
        problem: What does not agree there.
    """

    place: str
    problem: str


@dataclass
class Verification:
    """What was compared, and what did not agree.

    Attributes:
        events: The number of events.
        runs: The number of runs that were compared with their events.
        earlier_runs: The number of runs that have no event, because they were recorded before the
            first event.
        archived: The number of the newest event that was moved to an archive; 0 if none was.
        head: The newest event; None if there is none.
        findings: What did not agree, in the order in which it was found.
        late_runs: Start and id of the runs without events that seem to be newer than the chain.
    """

    events: int = 0
    runs: int = 0
    earlier_runs: int = 0
    archived: int = 0
    head: Head | None = None
    findings: list[Finding] = field(default_factory=list)
    late_runs: list[tuple[str, str]] = field(default_factory=list)

    def found(self, place: str, problem: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(place, problem))


@asynccontextmanager
async def open_snapshot(database: Database) -> AsyncIterator[AsyncConnection]:
    """Open a transaction in which all statements see the record as it was at the first one.

    Otherwise an archive that is committed between two statements would look like removed events.
    """
    async with database.connect("audit") as connection:
        if database.url.dialect == "postgresql":
            await connection.exec_driver_sql(_SNAPSHOT)
        yield connection


async def verify(connection: AsyncConnection, expected: Head | None = None) -> Verification:
    """Compute the chain again, and compare it with the runs and the inputs of shells.

    Args:
        connection: From `open_snapshot`.
        expected: An event that the log shows. If it is missing in the database, events were removed
            from the end of the chain, or the chain was written again.
    """
    done = Verification()
    archive = await read_newest_archive(connection)
    began = await read_began(connection, archive)
    await _verify_chain(connection, done, archive)
    if not began:
        done.found("event 1", "it is missing, with which the chain of this database began")
    await _verify_runs(connection, done, began, set(archive["kept"]) if archive else set())
    await _find_removed_runs(connection, done)
    if expected:
        await _compare_head(connection, done, expected)
    return done


async def read_events(
    connection: AsyncConnection,
    *,
    until: int | None = None,
    conditions: Sequence[ColumnElement[bool]] = (),
) -> AsyncIterator[RowMapping]:
    """Yield the events in order, up to a number, or those that fulfil the conditions."""
    after = 0
    while True:
        page = select(audit).where(audit.c.seq > after, *conditions)
        page = page.order_by(audit.c.seq).limit(PAGE)
        if until is not None:
            page = page.where(audit.c.seq <= until)
        rows = (await connection.execute(page)).mappings().all()
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        after = rows[-1]["seq"]


class LinkCheck:
    """Checks events one after the other; each must follow the one before it.

    Args:
        previous: The event before the first one; None if the chain begins with it.
    """

    def __init__(self, previous: Head | None = None) -> None:
        self.head = previous or Head(0, "")

    def problem_of(self, event: Mapping[Any, Any]) -> str:
        """Return what is wrong with the next event; empty if it follows the one before it."""
        last, self.head = self.head, Head(event["seq"], event["hash"])
        if next_hash(event["previous"], event["event"]) != event["hash"]:
            return "it was changed: its hash is not that of its content"
        if event["seq"] != last.seq + 1:
            return f"missing before it: {counted(event['seq'] - last.seq - 1, 'event')}"
        if event["previous"] != last.hash:
            return f"it does not follow event {last.seq}: one of the two was changed or inserted"
        facts = read_event(event["event"])
        if (facts.get("kind"), facts.get("run_id")) != (event["kind"], event["run_id"]):
            return "its columns `kind` and `run_id` are not those of its content"
        return ""


async def _verify_chain(
    connection: AsyncConnection, done: Verification, archive: Mapping[str, Any] | None
) -> None:
    """Check each link; the first event follows the last one of the archive, if there is one."""
    links = LinkCheck()
    if archive:
        done.archived = archive["last_seq"]
        links = LinkCheck(Head(archive["last_seq"], archive["last_hash"]))
    async for event in read_events(connection):
        done.events += 1
        if problem := links.problem_of(event):
            done.found(f"event {event['seq']}", problem)
    if done.events:
        done.head = links.head


async def read_began(
    connection: AsyncConnection, archive: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return when the chain began, and how many runs were recorded before it.

    Args:
        connection: A connection in a transaction.
        archive: From `read_newest_archive`: it keeps what the first event said.
    """
    if archive:
        began: dict[str, Any] = archive["began"]
        return began
    first = await connection.scalar(select(audit.c.event).where(audit.c.seq == 1))
    facts = read_event(first or "")
    return {name: facts[name] for name in ("at", "runs") if name in facts}


async def read_newest_archive(connection: AsyncConnection) -> dict[str, Any] | None:
    """Return the facts of the event of the archive that has the events before these, if any."""
    first = await connection.scalar(select(audit.c.seq).order_by(audit.c.seq).limit(1)) or 1
    archives = select(audit.c.event).where(audit.c.kind == "archived").order_by(audit.c.seq)
    # The first one that names the place where this chain begins: a later one may be forged.
    for event in await connection.scalars(archives):
        facts = read_event(event)
        if facts.get("last_seq") == first - 1 > 0:
            return facts
    return None


async def _verify_runs(
    connection: AsyncConnection, done: Verification, began: Mapping[str, Any], kept: set[str]
) -> None:
    """Compare each run with its events; an archive has those of the `kept` ones."""
    last = ""
    while True:
        page = select(runs).where(runs.c.id > last).order_by(runs.c.id).limit(_RUNS).subquery()
        joined = (
            select(page, audit.c.kind, audit.c.event)
            .outerjoin(audit, audit.c.run_id == page.c.id)
            .order_by(page.c.id, audit.c.seq)
        )
        rows = (await connection.execute(joined)).mappings().all()
        if not rows:
            break
        covered = []
        for run_id, group in groupby(rows, key=lambda row: row["id"]):
            of_run = list(group)
            if run_id in kept and not any(row["kind"] == "intended" for row in of_run):
                continue
            if _compare_run(of_run, done, began):
                covered.append(run_id)
        await _compare_inputs(connection, covered, done)
        last = rows[-1]["id"]
    _compare_earlier(done, began)


def _compare_earlier(done: Verification, began: Mapping[str, Any]) -> None:
    """Compare the number of the runs without events with that of the runs before the chain.

    The clock of the machine that recorded such a run may be ahead of the one that began the chain.
    So its start alone does not prove that a run is newer.
    """
    then, started = began.get("runs", 0), datetime.fromisoformat(began.get("at", _NEVER))
    too_many = done.earlier_runs - then
    for at, run_id in sorted(done.late_runs, reverse=True):
        if too_many > 0 or datetime.fromisoformat(at) - started > CLOCK_SKEW:
            done.found(
                f"run {run_id}", "it has no event: it was inserted by hand, or by an older version"
            )
            done.earlier_runs -= 1
            too_many -= 1
    if done.earlier_runs != then:
        done.found(
            "the runs before event 1",
            f"there were {then} when the chain began, and there are {done.earlier_runs}",
        )


def _compare_run(
    rows: Sequence[Mapping[Any, Any]], done: Verification, began: Mapping[str, Any]
) -> bool:
    """Compare one run with its events; return whether they hold its beginning."""
    run = _as_facts({name: rows[0][name] for name in runs.c.keys()})  # noqa: SIM118 - columns
    place = f"run {run.pop('id')}"
    kinds = [row["kind"] for row in rows]
    expected = _expected(rows, done, place)
    if "intended" not in kinds:
        done.earlier_runs += 1
        if run["started_at"] > began.get("at", ""):
            done.late_runs.append((run["started_at"], rows[0]["id"]))
    elif "closed" not in kinds and run["status"] == Status.STARTED.value:
        # A batch adds the rows that it took over from this run. The event that closes it has them.
        run.pop("rows")
    done.runs += "intended" in kinds
    names = expected.keys() & run.keys() if "intended" not in kinds else run.keys()
    different = sorted(name for name in names if run[name] != expected.get(name))
    if different:
        done.found(place, f"not as its events say: {', '.join(different)}")
    return "intended" in kinds


def _expected(rows: Sequence[Mapping[Any, Any]], done: Verification, place: str) -> dict[str, Any]:
    """Return what the events of a run say about its row."""
    expected: dict[str, Any] = {}
    for row in rows:
        facts = read_event(row["event"] or "{}")
        if row["kind"] == "closed":
            facts = {name: facts[name] for name in _CLOSING if name in facts}
            if _is_other_ending(expected, facts):
                done.found(place, "it was closed twice, with two different ends")
            expected |= facts
        elif row["kind"] == "intended":
            # A run has no message until it is closed.
            expected |= {"message": ""} | facts
    return expected


def _is_other_ending(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a run that was closed is closed with another end.

    A run may be closed again with a note in its message, or after the answer was lost. One that has
    lost its lock may have been closed as abandoned, although it was alive, and report its end.
    """
    status = before.get("status", Status.STARTED.value)
    is_closed = status not in (Status.STARTED.value, Status.ABANDONED.value)
    return is_closed and any(before.get(n) != now.get(n) for n in ("status", "exit_code", "rows"))


async def _compare_inputs(
    connection: AsyncConnection, run_ids: Iterable[str], done: Verification
) -> None:
    """Compare the inputs of the shells among these runs with their events."""
    ids = list(run_ids)
    stored = select(shell_inputs.c.run_id, *(shell_inputs.c[name] for name in _INPUT), null())
    recorded = select(audit.c.run_id, literal(0), null(), null(), audit.c.event)
    both = union_all(
        stored.where(shell_inputs.c.run_id.in_(ids)),
        recorded.where(audit.c.run_id.in_(ids), audit.c.kind == "input"),
    )
    rows: dict[str, dict[int, Any]] = defaultdict(dict)
    events: dict[str, dict[int, Any]] = defaultdict(dict)
    found: Any = await connection.execute(both)
    for run_id, number, at, source, event in found:
        if event is None:
            rows[run_id][number] = _as_facts({"number": number, "at": at, "source": source})
        else:
            facts = read_event(event)
            events[run_id][facts.get("number", 0)] = {name: facts.get(name) for name in _INPUT}
    for run_id in sorted(rows.keys() | events.keys()):
        for number in sorted(rows[run_id].keys() | events[run_id].keys()):
            if rows[run_id].get(number) != events[run_id].get(number):
                done.found(f"input {number} of run {run_id}", "not as its event says")


async def _find_removed_runs(connection: AsyncConnection, done: Verification) -> None:
    """Find runs that have events and no row."""
    has_row = exists().where(runs.c.id == audit.c.run_id)
    removed = select(audit.c.run_id).where(audit.c.kind == "intended", ~has_row)
    for run_id in (await connection.scalars(removed.order_by(audit.c.seq).limit(PAGE))).all():
        done.found(f"run {run_id}", "its row was removed: there are only its events")


async def _compare_head(connection: AsyncConnection, done: Verification, expected: Head) -> None:
    """Check that an event of the log is in the chain."""
    found = await connection.scalar(select(audit.c.hash).where(audit.c.seq == expected.seq))
    if found is None and expected.seq > done.archived:
        last = done.head.seq if done.head else 0
        missing = counted(expected.seq - last, "event")
        done.found(f"event {expected.seq}", f"it is missing, as are all after {last}: {missing}")
    elif found is not None and found != expected.hash:
        problem = "its hash is not that of the log: this or an earlier event was written again"
        done.found(f"event {expected.seq}", problem)


def _as_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as an event has them."""
    facts: dict[str, Any] = json.loads(canonical_json(row))
    return facts
