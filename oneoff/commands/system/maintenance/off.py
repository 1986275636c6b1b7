"""`system maintenance off`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.run import Run
    from oneoff.services.maintenance.switch import Announcement


class Off(BaseCommand):
    """End maintenance: serve requests and let workers continue.

    Every process reacts within two seconds. The pass of the maintenance window becomes invalid.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    lock = "maintenance"
    examples = ("system maintenance off --confirm", "system maintenance off --dry-run")

    def consequence(self) -> str:
        return "makes the application on {target} serve requests again"

    async def handle(self, session: AsyncSession, announcement: Announcement, run: Run) -> Result:
        from oneoff.services.maintenance.switch import switch_off

        ended = await switch_off(session, run)
        if ended is None:
            return Result.unchanged("maintenance is already off")
        announcement.make(None)
        since = f"{ended.window.started_at:%Y-%m-%d %H:%M:%S} UTC"
        return Result.changed(
            f"maintenance {'would be' if run.dry_run else 'is'} off; it was on since {since}",
            rows=1,
            data=ended.facts(),
            warnings=[announcement.problem] if announcement.problem else [],
        )
