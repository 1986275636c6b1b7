"""Write audit events to a file or to standard output."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import select

from oneoff.database.tables import audit, runs
from oneoff.services.audit.verify import read_events
from oneoff.services.data.files import open_output
from oneoff.utils.hash_chain import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.runtime.terminal import Terminal

Format = Literal["jsonl", "csv"]
COLUMNS = ("seq", "kind", "run_id", "previous", "hash", "event")


class Written(NamedTuple):
    """What was written.

    Attributes:
        events: The number of events.
        sha256: The digest of the bytes before they were compressed.
        complete: False if the reader closed the output before the end.
    """

    events: int
    sha256: str
    complete: bool


def events_of(*, operator: str = "", since: datetime | None = None) -> list[ColumnElement[bool]]:
    """Return conditions for the events of some runs; an empty argument does not filter.

    Args:
        operator: The operator of the runs.
        since: Only runs that started at this time or later.
    """
    wanted = select(runs.c.id)
    if operator:
        wanted = wanted.where(runs.c.operator == operator)
    if since:
        wanted = wanted.where(runs.c.started_at >= since)
    return [audit.c.run_id.in_(wanted)] if operator or since else []


async def write_events(
    connection: AsyncConnection,
    terminal: Terminal,
    path: str,
    *,
    kind: Format = "jsonl",
    overwrite: bool = False,
    until: int | None = None,
    conditions: list[ColumnElement[bool]] | None = None,
) -> Written:
    """Write events in their order.

    Args:
        connection: A connection in a transaction.
        terminal: The terminal of the run, for standard output.
        path: The file, or "-"; `.gz` and `.zst` compress it.
        kind: The format. A line of jsonl is an object with the columns of the table; its `event`
            is the text that was hashed.
        overwrite: Whether an existing file may be replaced.
        until: The number of the last event.
        conditions: Which events.

    Raises:
        CommandError: The file exists, or can't be written.
    """
    digest, count = sha256(), 0
    async with open_output(path, terminal, overwrite=overwrite) as output:
        events = read_events(connection, until=until, conditions=conditions or [])
        async for line in _lines(events, kind):
            data = line.encode()
            digest.update(data)
            count += 1
            await output.write(data)
    return Written(count - (kind == "csv"), digest.hexdigest(), output.complete)


async def _lines(events: AsyncIterator[Mapping[Any, Any]], kind: Format) -> AsyncIterator[str]:
    if kind == "csv":
        yield _csv_line(COLUMNS)
    async for event in events:
        row = {name: event[name] for name in COLUMNS}
        yield _csv_line(row.values()) if kind == "csv" else canonical_json(row) + "\n"


def _csv_line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
