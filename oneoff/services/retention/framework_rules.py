"""The retention rules for the framework's own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, not_, or_

from oneoff.database.tables import batches, outbox, runs
from oneoff.services.batch.state.checkpoints import UNREPORTED
from oneoff.services.retention.rules import Retention
from oneoff.services.transforms.run import COMMAND as TRANSFORM

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.expression import FromClause

RECORDS_COMPLETION = (
    batches.c.arguments.contains('"once": ', autoescape=True),
    batches.c.command.startswith(f"{TRANSFORM} ", autoescape=True),
    func.coalesce(batches.c.cursor, "").contains(", sha256 ", autoescape=True),
)
"""The row of a batch with `--once`, of a transform, or of an imported file is what says that it is
done, so it is kept for ever. A row that only looks like one of them is kept too."""


def framework_rules(*, effect_days: int = 30, batch_days: int = 90) -> tuple[Retention, ...]:
    """Return the rules for what the framework itself writes, to stand among a project's own.

    `oneoff-effects` deletes effects of the outbox that were delivered, `oneoff-batches` the
    checkpoints of batches that have ended. What is undelivered or unfinished stays, and what says
    that something is done: a batch with `--once`, a transform, an imported file, a batch whose run
    was killed before it could say that it is finished.

    Args:
        effect_days: Days for which delivered effects are kept.
        batch_days: Days for which batches that have ended are kept.
    """
    return (
        Retention(
            name="oneoff-effects",
            help="Effects of the outbox that were delivered; those that were not stay.",
            age=outbox.c.delivered_at,
            days=effect_days,
        ),
        Retention(
            name="oneoff-batches",
            help="Checkpoints of batches that have ended; those that say what is done stay.",
            age=batches.c.finished_at,
            days=batch_days,
            where=deletable_batches(),
        ),
    )


def deletable_batches() -> ColumnElement[bool]:
    """Return the condition for ended batches that no later run reads: see `find_current`.

    A run with the same arguments reads only the newest batch of its key, and only to see whether
    the run that finished it, or one of its shards, has not reported that. So an older batch may be
    deleted, and so may one that was reported. A newest batch that was not reported must stay: if it
    were deleted, the next run would process every row again.

    Shards stay as long as their parent; the next cleanup deletes them.
    """
    parent, shard, later = (batches.alias(name) for name in ("parent_batch", "shard", "later"))
    has_parent = exists().where(parent.c.id == batches.c.parent)
    unreported_shard = exists().where(shard.c.parent == batches.c.id, _unreported(shard))
    outdated = exists().where(
        later.c.key == batches.c.key,
        later.c.parent == "",
        later.c.started_at > batches.c.started_at,
    )
    reported = and_(not_(_unreported(batches)), not_(unreported_shard))
    return and_(
        not_(or_(*RECORDS_COMPLETION)),
        or_(
            and_(batches.c.parent != "", not_(has_parent)),
            and_(batches.c.parent == "", or_(outdated, reported)),
        ),
    )


def _unreported(table: FromClause) -> ColumnElement[bool]:
    """Return the condition that the run which ended a batch still runs, or was killed."""
    return exists().where(runs.c.id == table.c.run_id, runs.c.status.in_(sorted(UNREPORTED)))
