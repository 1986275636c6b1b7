"""Create the tables of runs, of the environment, and of applied revisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_runs()
    op.create_table(
        "oneoff_environment",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("cluster_identity", sa.Text, nullable=False),
        sa.Column("database_name", sa.Text, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "oneoff_applied_revisions",
        sa.Column("revision", sa.String(255), primary_key=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "oneoff_runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("argv", sa.Text, nullable=False),
        sa.Column("access", sa.Text, nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        sa.Column("rows", sa.BigInteger),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("operator_source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("ticket", sa.Text, nullable=False, server_default=""),
        sa.Column("break_glass", sa.Text, nullable=False, server_default=""),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_started", sa.Text, nullable=False, server_default=""),
        sa.Column("code_version", sa.Text, nullable=False, server_default=""),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("duration_ms", sa.BigInteger),
    )
    op.create_index("ix_oneoff_runs_started_at", "oneoff_runs", ["started_at"])
    op.create_index(
        "ix_oneoff_runs_open",
        "oneoff_runs",
        ["status"],
        postgresql_where=sa.text("status = 'started'"),
        sqlite_where=sa.text("status = 'started'"),
    )


def downgrade() -> None:
    """Drop the tables, and with them the records of all runs."""
    op.drop_table("oneoff_applied_revisions")
    op.drop_table("oneoff_environment")
    op.drop_table("oneoff_runs")
