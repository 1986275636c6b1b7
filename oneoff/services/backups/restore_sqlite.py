"""Restore a SQLite file: prepare the new content in a scratch file, and copy it in one step.

From the copy of the old content until then, nobody else can write. So the copy has everything that
was committed, and the record in the new content is the last one.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from oneoff.database.engine import Database
from oneoff.database.schema.upgrade import ensure_schema
from oneoff.services.backups.record import carry_over
from oneoff.services.backups.sqlite_file import copy_file, locked_file
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
    url, run_id = target.database.url, target.database.run_id
    kept = os.path.join(os.path.dirname(url.database), f"{kept_name}.sqlite3")
    with scratch_folder() as folder:
        scratch = str(folder / "restored.sqlite3")
        await copy_file(checked.path, scratch)
        new = Database(url._replace(database=scratch), run_id=run_id)
        old = Database(url._replace(database=kept), run_id=run_id)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(new.dispose)
            await ensure_schema(new)
            file = await stack.enter_async_context(locked_file(url.database))
            async with atomic_file(kept, overwrite=False) as partial:
                await file.copy_to(partial.path)
            try:
                stack.push_async_callback(old.dispose)
                await carry_over(old, new, checked, target.here)
                await new.dispose()
                # Once it has started, only its end shows whether the content was replaced.
                await uninterrupted(file.replace_by(scratch))
            except BaseException:
                os.unlink(kept)
                raise
    return kept
