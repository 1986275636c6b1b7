"""`db heads`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.services.migrations.resource import Migrations


class Heads(BaseCommand):
    """Show the newest revision of each branch."""

    access = Access.READ
    examples = ("db heads", "db heads --json")

    async def handle(self, migrations: Migrations) -> Result:
        history = migrations.history
        current = await migrations.current()
        history.check_known(current)
        pending = {step.revision.revision for step in history.upward("heads", current)}
        rows = [
            {
                "revision": head.id,
                "message": head.message,
                "branches": head.branches,
                "state": "pending" if head.id in pending else "applied",
            }
            for head in map(history.describe, history.heads)
        ]
        return Result.report(rows, warnings=history.warnings())
