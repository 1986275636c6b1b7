"""Replace the content of a database with that of a backup."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from oneoff.services.backups.in_place import restore_in_place
from oneoff.services.backups.new_database import MayNotSwap, may_swap, restore_into_new
from oneoff.services.backups.restore_sqlite import restore_file
from oneoff.services.backups.sessions import check_sessions
from oneoff.services.migrations.scratch import remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.backups.checked import Checked, Target

_MOST = 63  # bytes of a name in PostgreSQL


class Restored(NamedTuple):
    """A database that was restored.

    Attributes:
        old: What became of the old content.
        removed: Lines that say what was left of killed runs, and was removed.
    """

    old: str
    removed: Sequence[str]


async def restore(checked: Checked, target: Target) -> Restored:
    """Replace the content of the database.

    The record of runs, including that of this run, and the maintenance window stay those of the
    database: see `record`.

    Raises:
        CommandError: It failed, and the database is as it was.
        TemporaryError: Others use the database.
    """
    kept, removed = _kept_name(target), await remove_leftovers(target.database)
    if checked.manifest.kind == "sqlite":
        file = await restore_file(checked, target, kept)
        return Restored(f"the old content is in {file}", removed)
    await check_sessions(target)
    if await may_swap(target.database):
        # Without the right to create a database like this one, it is restored in place.
        with suppress(MayNotSwap):
            await restore_into_new(checked, target, kept)
            return Restored(f"the old database is kept as {kept}", removed)
    await restore_in_place(checked, target)
    why = "the user may not create a database like it"
    return Restored(f"the old content is not kept, because {why}", removed)


def _kept_name(target: Target) -> str:
    """Return the name under which the old database or file is kept; it has the id of the run."""
    database = target.database
    end = f"_before_{database.run_id}".lower().replace("-", "_")
    return database.url.name.encode()[: _MOST - len(end)].decode(errors="ignore") + end
