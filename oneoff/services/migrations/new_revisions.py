"""Add new revisions to the project: render, try, write, let the hooks run, try again if needed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.migrations.history import History
from oneoff.services.migrations.revision_file import (
    is_unchanged,
    remove,
    render_drafts,
    save,
)
from oneoff.services.migrations.scratch import remove_leftovers, scratch_folder, verify
from oneoff.services.migrations.write_hooks import run_hooks
from oneoff.utils.concurrency import in_daemon_thread, undivided

if TYPE_CHECKING:
    from pathlib import Path

    from oneoff.database.engine import Database
    from oneoff.services.migrations.autogenerate import Difference


class Written(NamedTuple):
    """What was written.

    Attributes:
        files: The files, relative to the project's root.
        warnings: What the hooks complained of, how the models still differ, and what killed runs
            had left.
    """

    files: list[str]
    warnings: list[str]


async def write(
    database: Database, history: History, new: Difference, *, verified: bool
) -> Written:
    """Write the files of new revisions; nothing is left of them after an error.

    Args:
        database: The database of the run.
        history: The revisions before the new ones, and the options of env.py.
        new: The new revisions.
        verified: Whether to apply and undo them on a scratch database.
    """
    warnings = await remove_leftovers(database)
    with scratch_folder() as folder:
        staged = _read_again(history, also=folder)
        drafts = render_drafts(staged, new, folder)
        check = partial(
            verify,
            database,
            new=[draft.revision for draft in drafts],
            folder=folder,
            compared=bool(new.operations),
        )
        if verified:
            warnings += await check(history=staged)
        save(drafts)
        paths = [draft.path for draft in drafts]
        try:
            # A hook that is still running could write a file again that was removed.
            hooks = in_daemon_thread(partial(run_hooks, history, paths))
            warnings += await undivided(hooks, _nothing)
            changed = [draft for draft in drafts if not is_unchanged(draft)]
            if changed and verified:
                warnings += await check(history=_read_again(history))
        except BaseException:
            remove(drafts)
            raise
    return Written([history.shorten(path) for path in paths], warnings)


async def _nothing(_result: object) -> None:
    """Do nothing: `write` removes the files itself."""


def _read_again(history: History, also: Path | None = None) -> History:
    """Return the history with the files that were written meanwhile."""
    found = History(history.folder, history.root, also)
    found.env = history.env
    return found
