"""Restore a SQLite file: prepare the new content in a scratch file, and copy it in one step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oneoff.database.engine import Database
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.backups.record import carry_over
from oneoff.services.backups.sqlite_file import copy_file
from oneoff.services.data.files import atomic_file
from oneoff.services.migrations.scratch import scratch_folder
from oneoff.utils.concurrency import uninterrupted

if TYPE_CHECKING:
    from oneoff.services.backups.checked import Checked, Target


async def restore_file(checked: Checked, target: Target, kept_name: str) -> str:
    """Replace the content of the file; return the path of a new file with the old content.

    Raises:
        TemporaryError: Another process has locked the file, which is as it was.
    """
    file = target.database.url.database
    with scratch_folder() as folder:
        scratch = str(folder / "restored.sqlite3")
        await copy_file(checked.path, scratch)
        new = Database(
            target.database.url._replace(database=scratch), run_id=target.database.run_id
        )
        try:
            await ensure_schema(new)
            await carry_over(target.database, new, same=checked.same)
        finally:
            await new.dispose()
        kept = os.path.join(os.path.dirname(file), f"{kept_name}.sqlite3")
        async with atomic_file(kept, overwrite=False) as partial:
            await copy_file(file, partial.path, alone=True)
        try:
            # Once it has started, only its end shows whether the content was replaced.
            await uninterrupted(copy_file(scratch, file))
        except BaseException:
            os.unlink(kept)
            raise
    return kept
