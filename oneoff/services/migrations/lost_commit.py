"""Find out whether a revision was committed, if the answer to its COMMIT was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from oneoff.core.errors import CommandError, Unavailable
from oneoff.database.tables import applied_revisions
from oneoff.services.migrations.alembic_context import read_heads
from oneoff.services.migrations.errors import RollbackStopped, message_of, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.runtime.migration import RevisionStep

    from oneoff.database.engine import Database
    from oneoff.services.migrations.history import History

SETTLE_TIME = 10.0
"""Seconds to wait for the server, and for the end of the transaction."""
# A transaction that applies or undoes a revision has written to this table. So it has ended when
# this lock is free.
_WAIT_FOR_ITS_END = text(f"LOCK TABLE {applied_revisions.name} IN SHARE MODE")


async def find_ending(database: Database, history: History, step: RevisionStep) -> bool | None:
    """Return whether the database has committed a step; None if that can't be known now.

    Args:
        database: The database, on PostgreSQL.
        history: The revisions, and the options of env.py.
        step: The step.
    """
    revision = step.revision.revision
    own = select(applied_revisions.c.revision).where(
        applied_revisions.c.revision == revision, applied_revisions.c.run_id == database.run_id
    )
    try:
        async with asyncio.timeout(SETTLE_TIME):
            await database.wait_until_up(SETTLE_TIME)
            async with database.connect() as connection:
                await connection.execute(_WAIT_FOR_ITS_END)
                if step.is_upgrade:
                    return await connection.scalar(own) is not None
                return revision not in await connection.run_sync(read_heads, history)
    except (CommandError, SQLAlchemyError, OSError):  # OSError includes TimeoutError
        return None


def lost_commit(
    exc: Exception,
    history: History,
    step: RevisionStep,
    *,
    committed: bool | None,
    done: Sequence[RevisionStep],
    left: Sequence[RevisionStep],
    together: bool,
) -> CommandError:
    """Return the error that says what is known.

    Args:
        exc: The loss of the connection.
        history: Describes revisions.
        step: The step that was being committed.
        committed: From `find_ending`.
        done: The steps that were committed before it.
        left: The steps after it.
        together: Whether all steps and a reset before them share this transaction.
    """
    revision = history.describe(step.revision.revision)
    known = f"the database shows that it was {'committed' if committed else 'rolled back'}"
    if committed is None:
        known = "it is unknown whether it was committed, because the database can't be asked"
    repeat = step.is_upgrade and not together and committed is not None
    undone = not step.is_upgrade and committed is not False
    kind = RollbackStopped if undone else Unavailable
    return kind(
        f"the connection was lost in the commit of revision {revision.id} ({revision.message}): "
        f"{message_of(exc)}",
        why="; ".join([known, *([] if together else progress(done, left))]),
        try_=f"python manage.py {'migrate' if repeat else 'db status'}",
        code="" if undone else "connection-lost",
        data={
            "revision": revision.id,
            "committed": committed,
            "done": [item.revision.revision for item in done],
            "left": [item.revision.revision for item in left],
        },
    )
