"""`system maintenance on`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Option, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.services.maintenance.store import Record
    from oneoff.services.maintenance.switch import Announcement


class On(BaseCommand):
    """Start maintenance: answer requests with 503 and pause the workers.

    Health checks are still answered. Every process reacts within two seconds. If maintenance is
    already on, a new --expires counts from now and a new --message replaces the old one. Options
    that you do not give keep their values.

    Visitors see the message. Only operators see the --reason. The command shows a pass once. A
    request with the pass in the header X-Maintenance-Bypass is served. The pass ends with the
    maintenance window.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    lock = "maintenance"
    examples = (
        'system maintenance on --expires 2h --reason "move to the new database" --confirm',
        'system maintenance on --message "back at 14:00 UTC" --dry-run',
    )

    expires: timedelta | None = Option(
        default=None, help="End automatically after this time: 90m, 2h."
    )
    message: str | None = Option(default=None, help="The text that visitors see.")

    def consequence(self) -> str:
        return "answers every request to the application on {target} with 503"

    async def handle(
        self, session: AsyncSession, announcement: Announcement, config: Config, run: Run
    ) -> Result:
        from oneoff.services.maintenance.switch import switch_on

        before, after = await switch_on(session, run, expires=self.expires, message=self.message)
        if before == after:
            return Result.unchanged(f"maintenance is already on{_until(after)}", data=after.facts())
        announcement.make(after.window)
        warnings = [announcement.problem] if announcement.problem else []
        passes = {} if before or run.dry_run else _pass(config, after)
        if not before and not config.secret_key:
            warnings.append("no pass was created: SECRET_KEY is not set")
        would, is_on = ("would stay", "stays") if before else ("would be", "is")
        message = f"maintenance {would if run.dry_run else is_on} on{_until(after)}"
        return Result.changed(
            message + _message_change(before, after),
            rows=1,
            data=after.facts(),
            warnings=warnings,
            show_once=passes,
        )


def _pass(config: Config, record: Record) -> dict[str, str]:
    from oneoff.services.maintenance.window import make_pass

    if not config.secret_key:
        return {}
    return {"pass": make_pass(config.secret_key, record.window.id)}


def _message_change(before: Record | None, after: Record) -> str:
    """Return the part of the message that shows the new text for visitors, if it changed."""
    if before is None or before.window.message == after.window.message:
        return ""
    text = repr(after.window.message) if after.window.message else "the default text"
    return f"; visitors see {text}"


def _until(record: Record) -> str:
    end = record.window.expires_at
    return f", until {end:%Y-%m-%d %H:%M:%S} UTC" if end else ", until it is switched off"
