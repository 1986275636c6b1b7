"""Create the tables of the worker's tasks: user counts by day, and sent mails.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables; the rows of a user's mails are deleted with the user."""
    op.create_table(
        "role_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "role", name=op.f("pk_role_counts")),
    )
    op.create_table(
        "sent_mails",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_sent_mails_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "kind", name=op.f("pk_sent_mails")),
    )


def downgrade() -> None:
    """Drop both tables; the record of sent welcome mails is lost, so they could be sent again."""
    op.drop_table("sent_mails")
    op.drop_table("role_counts")
