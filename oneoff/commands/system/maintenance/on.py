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
    """Answer every request with 503 and let workers pause; health checks go on.

    Every process notices within two seconds. Where maintenance is on already, a new --expires
    counts from now and a new --message replaces the old one; what is not said stays.

    Visitors are told the message; the --reason is for operators alone. The pass that is shown
    once lets its holder in, sent as the header X-Maintenance-Bypass. It ends with the window.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.PLAN
    lock = "maintenance"
    examples = (
        'system maintenance on --expires 2h --reason "move to the new database" --confirm',
        'system maintenance on --message "back at 14:00 UTC" --dry-run',
    )

    expires: timedelta | None = Option(default=None, help="End by itself after this long: 90m, 2h.")
    message: str | None = Option(default=None, help="What visitors are told.")

    def consequence(self) -> str:
        return "answers every request to the application on {target} with 503"

    async def handle(
        self, session: AsyncSession, announcement: Announcement, config: Config, run: Run
    ) -> Result:
        from oneoff.services.maintenance.switch import switch_on

        before, after = await switch_on(session, run, expires=self.expires, message=self.message)
        if before == after:
            return Result.unchanged(f"maintenance is on already{_until(after)}", data=after.facts())
        announcement.make(after.window)
        warnings = [announcement.problem] if announcement.problem else []
        passes = {} if before or run.dry_run else _pass(config, after)
        if not before and not config.secret_key:
            warnings.append("no pass was made: SECRET_KEY is not set")
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
    """Return the part of the message that names the new text for visitors, if it changed."""
    if before is None or before.window.message == after.window.message:
        return ""
    text = repr(after.window.message) if after.window.message else "the usual"
    return f"; visitors are told {text}"


def _until(record: Record) -> str:
    end = record.window.expires_at
    return f", until {end:%Y-%m-%d %H:%M:%S} UTC" if end else ", until it is switched off"
