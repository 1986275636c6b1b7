"""Add an index of the runs that may owe a review, which every health check counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_FEW = "break_glass <> ''"


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_oneoff_runs_break_glass",
        "oneoff_runs",
        ["started_at"],
        postgresql_where=sa.text(_FEW),
        sqlite_where=sa.text(_FEW),
    )


def downgrade() -> None:
    """Drop it; health checks then read all runs."""
    op.drop_index("ix_oneoff_runs_break_glass", "oneoff_runs")
