"""`approval show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show a request: what would run and change, and who has approved it."""

    access = Access.READ
    examples = ("approval show 0123456789", "approval show 0123456789 --json")

    request: str = Argument(help="The id of the request, or the part that `approval list` shows.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.runtime.approvals.state import clock, find
        from oneoff.services.approvals.facts import facts

        approval = await find(session, self.request)
        return Result.report(facts(approval, await clock(session)))
