"""Store under which name each approver and requester is compared."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns; code that is older leaves them empty, and the older constraint is there."""
    op.execute("ALTER TABLE oneoff_approvers ADD COLUMN requester_identity TEXT")
    op.execute(
        "ALTER TABLE oneoff_approvers ADD COLUMN approver_identity TEXT"
        " CONSTRAINT ck_oneoff_approvers_identity CHECK (approver_identity <> requester_identity)"
    )


def downgrade() -> None:
    """Drop them; on SQLite, names that differ in the case of ä are two people again."""
    op.drop_column("oneoff_approvers", "approver_identity")
    op.drop_column("oneoff_approvers", "requester_identity")
