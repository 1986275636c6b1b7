"""`audit show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Flag, Result, UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run


class Show(BaseCommand):
    """Show the record of one run, including the inputs of a shell."""

    access = Access.READ
    examples = (
        "audit show 20260131T120000-0123456789",
        "audit show 0123456789 --json",
        "audit show --last",
    )

    run_id: str = Argument(
        default="", help="The id of the run, or the part that `audit list` shows."
    )
    last: bool = Flag(
        help="Show the newest run of this operator, leaving out `audit list` and `audit show`."
    )

    async def check_inputs(self) -> None:
        if bool(self.run_id) == self.last:
            problem = (
                "RUN_ID and --last can't be used together" if self.last else "RUN_ID is missing"
            )
            raise UsageError(problem, try_="python manage.py audit show --last")

    async def handle(self, session: AsyncSession, run: Run) -> Result:
        from oneoff.runtime.audit.queries import find_run, last_run

        run_id = await last_run(session, run.operator.name) if self.last else self.run_id
        return Result.report(await find_run(session, run_id))
