"""Add the columns for the shards of a batch, and for the parent of a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    for column in _batch_columns():
        op.add_column("oneoff_batches", column)
    op.create_index("ix_oneoff_batches_parent", "oneoff_batches", ["parent"])
    op.add_column(
        "oneoff_runs", sa.Column("parent", sa.String(64), nullable=False, server_default="")
    )


def downgrade() -> None:
    """Drop the columns; unfinished batches with shards can't be resumed."""
    op.drop_column("oneoff_runs", "parent")
    op.drop_index("ix_oneoff_batches_parent", "oneoff_batches")
    for column in _batch_columns():
        op.drop_column("oneoff_batches", column.name)


def _batch_columns() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("parent", sa.String(80), nullable=False, server_default=""),
        sa.Column("shards", sa.Integer, nullable=False, server_default="0"),
        sa.Column("low", sa.Text),
        sa.Column("high", sa.Text),
        sa.Column("confirmed", sa.Text, nullable=False, server_default=""),
        sa.Column("exit_code", sa.Integer),
    )
