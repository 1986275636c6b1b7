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
    batches.c.arguments.contains('"once": ', autoescape=True),  # see `identify`
    batches.c.command.startswith(f"{TRANSFORM} ", autoescape=True),  # see `line_of`
    func.coalesce(batches.c.cursor, "").contains(", sha256 ", autoescape=True),  # see `Place`
)
"""Conditions for batches whose row is the record that they are done: batches with `--once`,
transforms, and imported files. These rows are kept permanently. Other rows that match by chance are
kept too."""


def framework_rules(*, effect_days: int = 30, batch_days: int = 90) -> tuple[Retention, ...]:
    """Return the rules for the framework's own rows, to add to the rules of a project.

    `oneoff-effects` deletes effects that were delivered. `oneoff-batches` deletes the checkpoints
    of batches that have ended. Undelivered effects and unfinished batches are kept. Records of
    finished work are kept too: batches with `--once`, transforms, imported files, and batches whose
    run was killed before it reported that they are finished.

    Args:
        effect_days: Days for which delivered effects are kept.
        batch_days: Days for which batches that have ended are kept.
    """
    return (
        Retention(
            name="oneoff-effects",
            help="Delivered effects of the outbox; undelivered effects are kept.",
            age=outbox.c.delivered_at,
            days=effect_days,
        ),
        Retention(
            name="oneoff-batches",
            help="Checkpoints of ended batches; records that work is finished are kept.",
            age=batches.c.finished_at,
            days=batch_days,
            where=deletable_batches(),
        ),
    )


def deletable_batches() -> ColumnElement[bool]:
    """Return the condition for ended batches that no later run reads: see `find_current`.

    A shard is deleted by the cleanup after the one that deletes its parent.
    """
    # A run with the same arguments reads only the newest batch of its key. It reads it only to find
    # out whether the run that finished it, or finished one of its shards, has not reported that. So
    # older batches and reported batches may be deleted. An unreported newest batch must be kept: if
    # it were deleted, the next run would process every row again.
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
            and_(batches.c.parent != "", not_(has_parent)),  # shards without their parent
            and_(batches.c.parent == "", or_(outdated, reported)),  # parents, and batches alone
        ),
    )


def _unreported(table: FromClause) -> ColumnElement[bool]:
    """Return the condition that the run which ended a batch is still active, or was killed."""
    return exists().where(runs.c.id == table.c.run_id, runs.c.status.in_(sorted(UNREPORTED)))
