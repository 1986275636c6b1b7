"""Define the framework's tables for SQLAlchemy Core; `schema/versions/` creates them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """An aware `datetime` in UTC on both databases, although SQLite stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a value to UTC before it is stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Add the time zone, which SQLite does not store."""
        if value is None:
            return None
        aware: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


VERSION_TABLE = "oneoff_alembic_version"
PREFIX = "oneoff_"
"""Prefix of the names of the framework's tables; a project's tables must not use it."""

metadata = MetaData()

runs = Table(
    "oneoff_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("command", Text, nullable=False),
    Column("argv", Text, nullable=False),  # a JSON list, secrets removed
    Column("access", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("exit_code", Integer),
    Column("message", Text, nullable=False, server_default=""),
    Column("rows", BigInteger),
    Column("operator", Text, nullable=False),
    Column("operator_source", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("ticket", Text, nullable=False, server_default=""),
    Column("break_glass", Text, nullable=False, server_default=""),
    Column("environment", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Text, nullable=False, server_default=""),
    Column("code_version", Text, nullable=False, server_default=""),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("duration_ms", BigInteger),
    Column("parent", String(64), nullable=False, server_default=""),  # the run it works for
)
# Partial indexes are declared only in versions/. Here, their arguments for a dialect would import
# both dialects, which takes 20 ms.

audit = Table(
    "oneoff_audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("kind", Text, nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("event", Text, nullable=False),  # canonical JSON
    Column("previous", String(64), nullable=False, unique=True),  # the hash of the event before it
    Column("hash", String(64), nullable=False),  # see `oneoff.runtime.audit.chain`
)
"""What happened to runs, in order. Rows are only added; `runs` is made from them."""

environments = Table(
    "oneoff_environment",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("environment", Text, nullable=False),
    Column("cluster_identity", Text, nullable=False),
    Column("database_name", Text, nullable=False),
    Column("stored_at", UTCDateTime, nullable=False),
)

applied_revisions = Table(
    "oneoff_applied_revisions",
    metadata,
    Column("revision", String(255), primary_key=True),
    Column("applied_at", UTCDateTime, nullable=False),
    Column("run_id", String(64), nullable=False),
)
"""When each of the project's revisions was applied, written in the transaction that applied it."""

maintenance = Table(
    "oneoff_maintenance",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("started_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime),  # compared with the clock of the process that reads it
    Column("ended_at", UTCDateTime),  # at most one row has none: the window that is open
    Column("message", Text, nullable=False, server_default=""),  # shown to the public
    Column("reason", Text, nullable=False, server_default=""),  # shown to operators
    Column("operator", Text, nullable=False),
    Column("run_id", String(64), nullable=False),
)
"""One row for each maintenance window, also for those that have ended."""

shell_inputs = Table(
    "oneoff_shell_inputs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, in the order in which they were typed
    Column("at", UTCDateTime, nullable=False),
    Column("source", Text, nullable=False),  # secrets removed
)
"""The inputs that were typed into shells."""

batches = Table(
    "oneoff_batches",
    metadata,
    Column("id", String(80), primary_key=True),  # the run that started it, and the part
    Column("key", String(64), nullable=False),  # hash of command, arguments and part
    Column("command", Text, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON, without secrets and without bounds
    Column("part", Text, nullable=False, server_default=""),
    Column("status", Text, nullable=False),
    Column("requested", Text, nullable=False, server_default=""),  # "pause", "cancel"
    Column("note", Text, nullable=False, server_default=""),  # why it waits, or why it stopped
    Column("run_id", String(64), nullable=False),  # the run that works on it, or did so last
    Column("fence", BigInteger, nullable=False),  # one higher for each run that took it over
    Column("cursor", Text),  # JSON: the key of the last row that is done
    Column("total", BigInteger),  # estimated by the last run that claimed it
    Column("rows_done", BigInteger, nullable=False, server_default="0"),
    Column("rows_changed", BigInteger, nullable=False, server_default="0"),
    Column("run_rows", BigInteger, nullable=False, server_default="0"),  # changed by `run_id` only
    Column("errors", BigInteger, nullable=False, server_default="0"),
    Column("started_at", UTCDateTime, nullable=False),
    Column("heartbeat_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),  # at most one row of a key has none
    Column("parent", String(80), nullable=False, server_default=""),  # the batch it is a shard of
    Column("shards", Integer, nullable=False, server_default="0"),  # number of shards
    Column("low", Text),  # JSON: a shard's keys are above this one; NULL: no limit
    Column("high", Text),  # JSON: and up to this one; "null" in both columns: it has no rows
    Column("confirmed", Text, nullable=False, server_default=""),  # the target, so workers may work
    Column("exit_code", Integer),  # of the error that stopped it
    Index("ix_oneoff_batches_finished_at", "finished_at"),
)
"""The state and progress of each batch, written in the same transactions as its rows."""

outbox = Table(
    "oneoff_outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("batch_id", String(80), nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    Column("created_at", UTCDateTime, nullable=False),
    Column("delivered_at", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=""),
    Column("claimed_until", UTCDateTime),  # when the claim of a delivery expires
    Index("ix_oneoff_outbox_delivered_at", "delivered_at"),
)
"""Effects outside the database, stored in the transaction that requests them."""

approvals = Table(
    "oneoff_approvals",
    metadata,
    Column("id", String(64), primary_key=True),  # the run that requested it
    Column("command", Text, nullable=False),
    Column("argv", Text, nullable=False),  # a JSON list: the words to run
    Column("arguments", Text, nullable=False),  # JSON, without secrets
    Column("target", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("binding", Text, nullable=False),  # what is compared with the plan
    Column("plan", Text, nullable=False),  # JSON: the message and the rows by table
    Column("hash", String(64), nullable=False),  # of what was approved
    Column("needed", Integer, nullable=False),  # the number of people
    Column("standing", Boolean, nullable=False),  # whether it may be used more than once
    Column("requester", Text, nullable=False),
    Column("requester_source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ticket", Text, nullable=False, server_default=""),
    Column("requested_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("ended_as", Text, nullable=False, server_default=""),  # "rejected", "withdrawn"
    Column("ended_by", Text, nullable=False, server_default=""),
    Column("ended_at", UTCDateTime),
    UniqueConstraint("id", "requester", name="uq_oneoff_approvals_requester"),
)

approvers = Table(
    "oneoff_approvers",
    metadata,
    Column("approval_id", String(64), primary_key=True),
    Column("approver", Text, primary_key=True),
    Column("approver_source", Text, nullable=False),
    Column("requester", Text, nullable=False),  # that of the approval: see the constraints
    Column("run_id", String(64), nullable=False),
    Column("approved_at", UTCDateTime, nullable=False),
    Column("requester_identity", Text),  # `identity_of` the names: lower() of the database knows
    Column("approver_identity", Text),  # only the letters of its locale
    ForeignKeyConstraint(
        ["approval_id", "requester"],
        ["oneoff_approvals.id", "oneoff_approvals.requester"],
        name="fk_oneoff_approvers_approval",
    ),
    CheckConstraint(
        "lower(approver) <> lower(requester)", name="ck_oneoff_approvers_second_person"
    ),
    CheckConstraint("approver_identity <> requester_identity", name="ck_oneoff_approvers_identity"),
)
"""Who has approved: somebody else than the requester, whatever the code does."""

approval_uses = Table(
    "oneoff_approval_uses",
    metadata,
    Column("key", String(140), primary_key=True),  # the approval; a standing one, and the run
    Column("approval_id", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("used_at", UTCDateTime, nullable=False),
)
"""Which runs used an approval, written in the transactions that inserted their rows."""
