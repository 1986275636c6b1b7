"""`approval request`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class Request(BaseCommand):
    """Request the approval of a command line.

    The line is previewed by a real dry run. The request stores what the dry run reported, what the
    approval is for (command, arguments, target, code version), who requests it, and why. Secrets
    are not stored. When enough people have approved it, the same line runs once with --approval ID,
    which is also its confirmation. With --standing it runs until the approval expires, and what it
    changes is not compared with the dry run.

    Write `--` before the command line.
    """

    access = Access.WRITE
    dry_run = DryRun.UNSUPPORTED
    allow_agents = True
    examples = (
        "approval request --reason 'ticket 4711' -- user promote ada admin",
        "approval request --standing --expires 90d --reason 'every month' -- data cleanup",
    )

    line: list[str] = Argument(help="The command line to approve, without the program.")
    standing: bool = Flag(help="Approve every run of this line, with this code, until it expires.")
    expires: timedelta = Option(
        default=timedelta(hours=24), help="Time until the request and its approval expire."
    )

    async def handle(self, database: Database, run: Run) -> Result:
        from oneoff.services.approvals.request import request_approval

        row = await request_approval(
            database, run, self.line, standing=self.standing, expires=self.expires
        )
        people = "a second person" if row["needed"] == 1 else f"{row['needed']} people"
        approval_id = row["id"].rpartition("-")[2]
        return Result.changed(
            f"requested {approval_id}; {people} may approve it until "
            f"{row['expires_at']:%Y-%m-%d %H:%M} UTC: "
            f"python manage.py approval approve {approval_id}",
            rows=1,
            data={"id": row["id"], "needed": row["needed"], "expires_at": row["expires_at"]},
            answer=row["id"],
        )

    def also_needs(self) -> tuple[str, ...]:
        return ("session",)  # the tables of approvals
