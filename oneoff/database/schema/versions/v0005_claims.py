"""Add a column for the claims of effects, and indexes to delete old rows by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ENDED = (("oneoff_outbox", "delivered_at"), ("oneoff_batches", "finished_at"))


def upgrade() -> None:
    """Add the column and the indexes."""
    op.add_column("oneoff_outbox", sa.Column("claimed_until", sa.DateTime(timezone=True)))
    for table, column in _ENDED:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    """Drop them; without claims, two concurrent deliveries may count an attempt twice."""
    for table, column in _ENDED:
        op.drop_index(f"ix_{table}_{column}", table)
    op.drop_column("oneoff_outbox", "claimed_until")
