"""${message.rstrip(".")}.

% for operation in operations:
- ${operation}
% endfor
% if operations:

% endif
Revision ${up_revision}, after ${comma(down_revision) or "nothing"}; ${f"{create_date:%Y-%m-%d %H:%M}"}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
% if branch_labels:
branch_labels = ${repr(branch_labels)}
% endif
% if depends_on:
depends_on = ${repr(depends_on)}
% endif


def upgrade() -> None:
    ${upgrades or "pass"}


def downgrade() -> None:
    ${downgrades or "pass"}
