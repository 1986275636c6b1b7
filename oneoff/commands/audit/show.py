"""`audit show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Show(BaseCommand):
    """Show the record of one run, including the inputs of a shell."""

    access = Access.READ
    examples = ("audit show 20260131T120000-0123456789", "audit show 0123456789 --json")

    run_id: str = Argument(help="The id of the run, or the part that `audit list` shows.")

    async def handle(self, session: AsyncSession) -> Result:
        from oneoff.runtime.audit.queries import find_run

        return Result.report(await find_run(session, self.run_id))
