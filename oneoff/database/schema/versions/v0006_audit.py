"""Create the table of audit events, to which rows can only be added."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from oneoff.utils.hash_chain import canonical_json, next_hash

revision = "0006"
down_revision = "0005"

# A plain INSERT ... SELECT would read the newest event with a snapshot that is older than the lock,
# and two events could follow the same one. A function that is VOLATILE, which is the default, takes
# a new snapshot for each of its statements. Its `lock_timeout` is a bound on the time for which a
# run waits for another one that hangs between its event and its COMMIT.
_GIVEN = ("kind", "run_id", "event")  # the trigger sets the other columns
_APPEND = """
CREATE FUNCTION oneoff_audit_append() RETURNS trigger
LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
    newest record;
BEGIN
    PERFORM pg_advisory_xact_lock(1869505903, TG_RELID::int);
    EXECUTE format(
        'SELECT seq, hash FROM %I.%I ORDER BY seq DESC LIMIT 1', TG_TABLE_SCHEMA, TG_TABLE_NAME
    ) INTO newest;
    NEW.seq := coalesce(newest.seq, 0) + 1;
    NEW.previous := coalesce(newest.hash, '');
    NEW.hash := encode(sha256(convert_to(NEW.previous || NEW.event, 'UTF8')), 'hex');
    RETURN NEW;
END
$$
"""
_REFUSE = """
CREATE FUNCTION oneoff_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows can only be added to oneoff_audit' USING ERRCODE = '42501';
END
$$
"""
_APPEND_TRIGGER = """
CREATE TRIGGER oneoff_audit_append BEFORE INSERT ON oneoff_audit
FOR EACH ROW EXECUTE FUNCTION oneoff_audit_append()
"""
_REFUSE_TRIGGER = """
CREATE TRIGGER oneoff_audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON oneoff_audit
FOR EACH STATEMENT EXECUTE FUNCTION oneoff_audit_refuse()
"""
_POSTGRESQL = (_APPEND, _APPEND_TRIGGER, _REFUSE, _REFUSE_TRIGGER)
_SQLITE = tuple(
    f"CREATE TRIGGER oneoff_audit_refuse_{event} BEFORE {event} ON oneoff_audit"
    " BEGIN SELECT RAISE(ABORT, 'rows can only be added to oneoff_audit'); END"
    for event in ("update", "delete")
)


def upgrade() -> None:
    """Create the table, and its first event: how many runs were recorded before it."""
    op.create_table(
        "oneoff_audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("ix_oneoff_audit_run", "oneoff_audit", ["run_id"])
    for statement in _POSTGRESQL if _is_postgresql() else _SQLITE:
        op.execute(statement)
    add = _add_on_postgresql if _is_postgresql() else _add_on_sqlite
    add({"kind": "began", "run_id": "", "at": datetime.now(UTC)})


def downgrade() -> None:
    """Drop the table, and with it the proof that the records were not changed."""
    op.drop_table("oneoff_audit")
    if _is_postgresql():
        op.execute("DROP FUNCTION oneoff_audit_append(), oneoff_audit_refuse()")


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _add_on_postgresql(event: dict[str, object]) -> None:
    # This is a script, so the server counts. `runs` is the last one of the sorted keys.
    start = canonical_json(event | {"runs": 0}).removesuffix("0}")
    text = sa.literal(start) + sa.cast(sa.func.count(), sa.Text) + sa.literal("}")
    counted = sa.select(sa.literal("began"), sa.literal(""), text)
    op.execute(
        sa.table("oneoff_audit", *map(sa.column, _GIVEN))
        .insert()
        .from_select(_GIVEN, counted.select_from(sa.table("oneoff_runs")))
    )


def _add_on_sqlite(event: dict[str, object]) -> None:
    connection = op.get_bind()
    runs = connection.scalar(sa.text("SELECT count(*) FROM oneoff_runs"))
    text = canonical_json(event | {"runs": runs})
    connection.execute(
        sa.text("INSERT INTO oneoff_audit VALUES (1, 'began', '', :event, '', :hash)"),
        {"event": text, "hash": next_hash("", text)},
    )
