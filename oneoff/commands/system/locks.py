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
    """List the locks that runs hold now, and who waits for them.

    A lock is given back when its run ends, however that ends; there is nothing to unlock. An
    orphan is the statement of a run that was killed, at which the server is still at work. On
    SQLite it can't be told who waits.
    """

    access = Access.READ
    examples = ("system locks", "system locks --json")

    async def handle(self, work: WorkTransaction, database: Database, registry: Registry) -> Result:
        from oneoff.database.locks.holders import list_lock_holders

        def lock_of(command: str) -> str:
            # What runs may be newer or older than this code, and have commands it doesn't know.
            with suppress(CommandError):
                return registry.load(registry.find(command.split())[0]).lock
            return ""

        held = await list_lock_holders(work.connection, database, lock_of)
        return Result.report(held, "" if held else "no run holds a lock")
