"""Which of the framework's own rows nobody needs any more, once they are old."""

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
"""An occasion (`--once`), a transform, a file: by its row it is known that these are done. A row
that only looks like one of them is kept too."""


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
    """Return the condition for a batch, of those that have ended, which no later run asks for.

    The shards of a whole are there as long as it is: they go by the next cleanup.
    """
    whole, shard, later = (batches.alias(name) for name in ("whole", "shard", "later"))
    has_whole = exists().where(whole.c.id == batches.c.parent)
    untold_shard = exists().where(shard.c.parent == batches.c.id, _untold(shard))
    # Only the newest tells the next run what is done; an older one would if it were left alone.
    outdated = exists().where(
        later.c.key == batches.c.key,
        later.c.parent == "",
        later.c.started_at > batches.c.started_at,
    )
    told = or_(outdated, and_(not_(_untold(batches)), not_(untold_shard)))
    return and_(
        not_(or_(*RECORDS_COMPLETION)),
        or_(
            and_(batches.c.parent != "", not_(has_whole)),
            and_(batches.c.parent == "", told),
        ),
    )


def _untold(table: FromClause) -> ColumnElement[bool]:
    """Return whether the run that ended it was killed before it said so, or has not ended."""
    return exists().where(runs.c.id == table.c.run_id, runs.c.status.in_(sorted(UNREPORTED)))
