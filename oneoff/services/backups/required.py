"""Require a recent backup before a command destroys data in a protected environment."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff.core.arguments import Option
from oneoff.core.command import BaseCommand
from oneoff.core.conversion import duration_text
from oneoff.core.errors import Refused

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class NeedsBackup(BaseCommand):
    """A command that needs a recent backup in a protected environment, or a reason to have none."""

    backup_age: timedelta = Option(
        default=timedelta(hours=1),
        help="In a protected environment, need a backup that is not older than this.",
    )
    no_backup: str = Option(
        default="",
        help="Run without a backup in a protected environment. The text is the reason.",
    )

    async def check_backup(self, database: Database, run: Run) -> list[str]:
        """Check that there is a recent backup, before anything is changed; return warnings.

        A dry run only warns that a real run would be refused.

        Raises:
            Refused: There is none, and no reason was given.
        """
        if not run.protected:
            return []
        if self.no_backup.strip():
            return [f"without a backup: {self.no_backup.strip()}"]
        from oneoff.services.backups.own_backups import find_recent

        found = await find_recent(database, self.backup_age)
        if found.run_id:
            return [found.note] if found.note else []
        refusal = self._refusal(run, found.note)
        if run.dry_run:
            return [f"a real run would be refused: {refusal.message}"]
        raise refusal

    def _refusal(self, run: Run, reason: str) -> Refused:
        age = duration_text(self.backup_age)
        return Refused(
            f"{run.command} needs a backup of this database that is not older than {age}",
            why=reason or "the record of runs has none",
            try_=("python manage.py db backup", _again(run)),
            code="backup-required",
        )


def _again(run: Run) -> str:
    """Return the line of the run with the option that makes it pass without a backup."""
    from oneoff.runtime.executor import running

    execution = running.get()
    line = execution.call.line if execution else f"python manage.py {run.command}"
    return f'{line} --no-backup "REASON"'
