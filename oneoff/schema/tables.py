"""The framework's tables, as SQLAlchemy Core knows them. `versions/` makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """An instant, aware and in UTC on both databases; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Store the instant in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Give the zone back that SQLite dropped."""
        if value is None:
            return None
        aware: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


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
)
# Its indexes are in versions/ alone: naming a dialect here would import both dialects, 20 ms.

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
    Column("expires_at", UTCDateTime),  # by itself, on the clock of whoever reads it
    Column("ended_at", UTCDateTime),  # one row at most has none: the window that is open
    Column("message", Text, nullable=False, server_default=""),  # shown to the public
    Column("reason", Text, nullable=False, server_default=""),  # shown to operators
    Column("operator", Text, nullable=False),
    Column("run_id", String(64), nullable=False),
)
"""One row for each maintenance window there ever was."""

shell_inputs = Table(
    "oneoff_shell_inputs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, in the order in which they were typed
    Column("at", UTCDateTime, nullable=False),
    Column("source", Text, nullable=False),  # secrets removed
)
"""What was typed into a shell."""
