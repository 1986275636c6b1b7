"""Add events to the chain of audit events, together with the rows that they change.

`oneoff_audit` holds what happened; `oneoff_runs` holds the same facts, one readable row for each
run. An event and its row are written in one transaction, so they can differ only if somebody has
changed one of them: `oneoff.runtime.audit.verify` finds that.

On PostgreSQL, a trigger of the table chains the event, in the same statement as the change of the
row: see `schema/versions/v0006_audit.py`. On SQLite, which has one writer at a time and no SHA-256,
this module does.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Text, cast, func, insert, literal, literal_column, select

from oneoff.database.tables import audit
from oneoff.utils.hash_chain import Head, canonical_json, next_hash

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Insert, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

SCHEMA: ColumnElement[str] = literal_column(
    "(SELECT nspname::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
    " WHERE pg_class.oid = oneoff_audit.tableoid)"
)
"""Of a row of `oneoff_audit`: the schema of the framework's tables, on PostgreSQL."""


class Event(NamedTuple):
    """An event that is in the chain.

    Attributes:
        head: Its number, from 1, and its hash.
        facts: What happened.
        schema: The schema of the framework's tables; empty on SQLite.
    """

    head: Head
    facts: Mapping[str, Any]
    schema: str = ""


async def add_event(
    connection: AsyncConnection,
    kind: str,
    facts: Mapping[str, Any],
    *,
    change: Insert | Update | None = None,
    computed: str = "",
    schema: str = "",
) -> Event | None:
    """Change one row, and add the event that says so, in the caller's transaction.

    On PostgreSQL, it takes as many round trips as the change alone.

    Args:
        connection: The connection; on PostgreSQL it may commit each statement.
        kind: "intended", "closed", "input", ...
        facts: What happened; "run_id" is the run.
        change: Changes the row; by default no row is changed.
        computed: Name of a fact, a number, that the database computes in `change`: the column with
            this name.
        schema: The schema of the tables, if `search_path` may not lead to it.

    Returns:
        The event; None if there was no row to change, and so nothing happened.
    """
    facts = {**facts, "kind": kind}
    options = {"schema_translate_map": {None: schema}} if schema else {}
    if connection.dialect.name == "postgresql":
        statement = _in_one_statement(facts, change, computed)
        found = (await connection.execute(statement, execution_options=options)).one_or_none()
        return Event(Head(*found[:2]), json.loads(found[2]), found[3]) if found else None
    if change is not None:
        returned = await connection.execute(change.returning(change.table))
        changed = returned.mappings().one_or_none()
        if changed is None:
            return None
        if computed:
            facts[computed] = changed[computed]
    return await _add_on_sqlite(connection, facts)


@asynccontextmanager
async def changeable_events(connection: AsyncConnection) -> AsyncIterator[None]:
    """Switch the triggers of the table off in the block, as only the owner of the table can.

    For an archive and a restore. On PostgreSQL, nobody else can add an event until the end of the
    transaction.
    """
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql("ALTER TABLE oneoff_audit DISABLE TRIGGER USER")
        yield
        await connection.exec_driver_sql("ALTER TABLE oneoff_audit ENABLE TRIGGER USER")
        return
    triggers = "FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'oneoff_audit'"
    found: list[Any] = [*(await connection.exec_driver_sql(f"SELECT name, sql {triggers}")).all()]
    for name, _ in found:
        await connection.exec_driver_sql(
            f"DROP TRIGGER {connection.dialect.identifier_preparer.quote(name)}"
        )
    yield
    for _, definition in found:
        await connection.exec_driver_sql(definition)


def _in_one_statement(
    facts: Mapping[str, Any], change: Insert | Update | None, computed: str
) -> Insert:
    """Return `WITH changed AS (change) INSERT INTO oneoff_audit SELECT ... FROM changed`."""
    event: ColumnElement[str] = literal(canonical_json(facts), Text)
    changed = None
    if change is not None and not computed:
        changed = change.returning(literal(1).label("one")).cte("changed")
    elif change is not None:
        changed = change.returning(change.table.c[computed]).cte("changed")
        place = os.urandom(16).hex()  # no other fact has this text
        before, _, after = canonical_json({**facts, computed: place}).partition(f'"{place}"')
        number = func.coalesce(cast(changed.c[computed], Text), "null")
        event = literal(before, Text) + number + literal(after, Text)
    values = select(literal(facts["kind"], Text), literal(facts["run_id"], Text), event)
    return (
        insert(audit)
        .from_select(
            ["kind", "run_id", "event"],
            values if changed is None else values.select_from(changed),
        )
        .returning(audit.c.seq, audit.c.hash, audit.c.event, SCHEMA)
    )


async def _add_on_sqlite(connection: AsyncConnection, facts: Mapping[str, Any]) -> Event:
    newest = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    seq, previous = (await connection.execute(newest)).one_or_none() or (0, "")
    text = canonical_json(facts)
    event = Event(Head(seq + 1, next_hash(previous, text)), json.loads(text))
    await connection.execute(
        insert(audit).values(
            seq=event.head.seq,
            kind=facts["kind"],
            run_id=facts["run_id"],
            event=text,
            previous=previous,
            hash=event.head.hash,
        )
    )
    return event
