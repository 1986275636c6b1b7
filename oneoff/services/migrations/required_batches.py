"""Find the batches that pending revisions require, and that have not finished in this database.

In the file of a revision that needs filled columns, `requires_batches = ("fill-locale",)` names
transforms of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from oneoff.core.errors import CommandError, Refused
from oneoff.database.tables import batches

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from sqlalchemy import Connection

    from oneoff.services.migrations.history import History

_COMMAND = "data transform"


class MissingBatch(NamedTuple):
    """A batch that has to finish before a revision.

    Attributes:
        revision: The revision.
        before: The revision to which the database has to be migrated first; empty if it is there.
        name: The name of the transform.
    """

    revision: str
    before: str
    name: str

    def __str__(self) -> str:
        return f"revision {self.revision} requires the batch {self.name}"


def find_missing(
    connection: Connection, history: History, steps: Sequence[RevisionStep]
) -> list[MissingBatch]:
    """Return the batches that revisions require and that have not finished, or were reverted.

    Raises:
        CommandError: A revision does not declare them as a list of names.
    """
    missing: list[MissingBatch] = []
    for place, step in enumerate(steps):
        down = step.revision.down_revision
        before = down if place and isinstance(down, str) else ""
        missing += [
            MissingBatch(step.revision.revision, before, name)
            for name in _names(history, step)
            if not _has_finished(connection, name)
        ]
    return missing


def batch_required(missing: Sequence[MissingBatch]) -> Refused:
    """Return the error that names the lines to run, in their order."""
    first = missing[0]
    same = [one.name for one in missing if one.revision == first.revision]
    lines = [f"python manage.py migrate --revision {first.before}"] if first.before else []
    lines += [f"python manage.py {_COMMAND} {name} --confirm" for name in same]
    return Refused(
        "; ".join(map(str, missing)),
        why="it has not finished in this database, or was reverted; nothing was applied",
        try_=[*lines, "python manage.py migrate"],
        code="batch-required",
        data=[one._asdict() for one in missing],
    )


def _names(history: History, step: RevisionStep) -> Iterable[str]:
    names = getattr(step.revision.module, "requires_batches", ())
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return names
    raise CommandError(
        f"requires_batches in {history.describe(step.revision.revision).file} is no list of names",
        try_='write requires_batches = ("NAME",), with the comma',
        code="broken-revision",
    )


def _has_finished(connection: Connection, name: str) -> bool:
    line = f"{_COMMAND} {name}"
    # Shards have a parent. A batch that was reverted has to run again.
    last = select(batches.c.command).where(
        batches.c.command.in_([line, f"{line} --revert"]),
        batches.c.parent == "",
        batches.c.status == "finished",
    )
    return connection.scalar(last.order_by(batches.c.finished_at.desc()).limit(1)) == line
