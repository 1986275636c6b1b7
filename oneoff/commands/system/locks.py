"""`system locks`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CommandError, Result

if TYPE_CHECKING:
    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.registry.registry import Registry


class Locks(BaseCommand):
    """List the locks that runs hold, and the runs that wait for them.

    A lock is released when its run ends, even if the run was killed. You never have to unlock
    anything. An orphan is a statement of a killed run that the server still executes. On SQLite,
    waiting runs are not known.
    """

    access = Access.READ
    examples = ("system locks", "system locks --json")

    async def handle(self, work: WorkTransaction, database: Database, registry: Registry) -> Result:
        from oneoff.database.locks.holders import list_lock_holders

        def lock_of(command: str) -> str:
            # The run may have other code than this process, with commands that don't exist here.
            with suppress(CommandError):
                return registry.load(registry.find(command.split())[0]).lock
            return ""

        held = await list_lock_holders(work.connection, database, lock_of)
        return Result.report(held, "" if held else "no run holds a lock")
