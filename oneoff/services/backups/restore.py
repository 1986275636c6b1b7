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


async def preview(checked: Checked, target: Target) -> list[dict[str, str]]:
    """Return what the database has now, what the backup has, and what is kept."""
    manifest, facts = checked.manifest, target.database.facts
    here = await target.migrations.current() if target.migrations else ()
    rows = [
        ("database", target.database.url.name, manifest.database),
        ("environment", facts.stored_environment if facts else "", manifest.environment),
        ("revision", ", ".join(here), ", ".join(manifest.revisions)),
        ("code version", "", manifest.code_version),
        ("made at", "", f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("old content", await _fate(checked, target), ""),
    ]
    return [{"what": what, "now": now or "-", "backup": then or "-"} for what, now, then in rows]


async def _fate(checked: Checked, target: Target) -> str:
    """Return what would become of the old content."""
    if checked.manifest.kind == "sqlite" or await may_swap(target.database):
        return "is kept"
    return "is not kept"


def _kept_name(target: Target) -> str:
    """Return the name under which the old database or file is kept; it has the id of the run."""
    database = target.database
    end = f"_before_{database.run_id}".lower().replace("-", "_")
    return database.url.name.encode()[: _MOST - len(end)].decode(errors="ignore") + end
