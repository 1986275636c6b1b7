"""Create the tables of approvals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "oneoff_approvals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("argv", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("binding", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("needed", sa.Integer, nullable=False),
        sa.Column("standing", sa.Boolean, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("requester_source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ticket", sa.Text, nullable=False, server_default=""),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_as", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_by", sa.Text, nullable=False, server_default=""),
        sa.Column("ended_at", _TIME),
        sa.UniqueConstraint("id", "requester", name="uq_oneoff_approvals_requester"),
    )
    op.create_table(
        "oneoff_approvers",
        sa.Column("approval_id", sa.String(64), primary_key=True),
        sa.Column("approver", sa.Text, primary_key=True),
        sa.Column("approver_source", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("approved_at", _TIME, nullable=False),
        # With the requester in the key, a row can't name another requester than the request does.
        sa.ForeignKeyConstraint(
            ["approval_id", "requester"],
            ["oneoff_approvals.id", "oneoff_approvals.requester"],
            name="fk_oneoff_approvers_approval",
        ),
        sa.CheckConstraint(
            "lower(approver) <> lower(requester)", name="ck_oneoff_approvers_second_person"
        ),
    )
    op.create_table(
        "oneoff_approval_uses",
        sa.Column("key", sa.String(140), primary_key=True),
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("used_at", _TIME, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables; no approval can be used any more."""
    for table in ("oneoff_approval_uses", "oneoff_approvers", "oneoff_approvals"):
        op.drop_table(table)
