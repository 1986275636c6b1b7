"""`db restore`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oneoff import Access, Argument, Confirm, DryRun, Flag, Result
from oneoff.services.backups.required import NeedsBackup

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class Restore(NeedsBackup):
    """Replace the content of the database with a backup.

    The file is checked first. On PostgreSQL the backup is loaded into a new database, which then
    takes the name of the old one; the old one is kept. A user that may not create databases
    replaces the content in one transaction. A SQLite file is replaced in one transaction, and
    copied before. The record of runs is kept.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    lock = "migrations"
    creates_schema = True
    examples = (
        "db restore shop.dump --dry-run",
        "db restore shop.dump --confirm=shop@staging",
        "db restore production.dump --from-copy --end-sessions --confirm=shop@staging",
    )

    file: str = Argument(help="The backup. Its manifest is beside it, with the ending .json.")
    from_copy: bool = Flag(help="Allow a backup of another database of this project.")
    end_sessions: bool = Flag(help="End the sessions of others on the database.")

    def also_needs(self) -> tuple[str, ...]:
        return ("migrations",)  # a pooler does not lead to another database

    def consequence(self) -> str:
        return f"replaces the content of {{target}} with {self.file}"

    async def check_inputs(self) -> None:
        from oneoff.services.backups.manifest import read_manifest

        read_manifest(self.file)

    async def handle(
        self,
        config: Config,
        project: Project,
        database: Database,
        run: Run,
        open: Any,  # noqa: A002 - the name of the resource
    ) -> Result:
        from oneoff.services.backups.checked import Target, check_backup_file
        from oneoff.services.backups.restore import preview, restore
        from oneoff.services.backups.sessions import refusal_by_sessions

        migrations = await open("migrations") if project.migrations else None
        target = Target(
            database,
            migrations,
            project.name,
            config.environ,
            from_copy=self.from_copy,
            end_sessions=self.end_sessions,
        )
        checked = await check_backup_file(self.file, target)
        warnings = await self.check_backup(database, run)
        data = {"file": checked.path, "same_database": checked.same, **checked.manifest.facts()}
        made = f"made at {checked.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
        what = f"{database.url.name} from {checked.path}, {made}"
        if run.dry_run:
            warnings += await refusal_by_sessions(target)
            plan = Result.changed(f"would restore {what}", data=data, warnings=warnings)
            return replace(plan, table=await preview(checked, target))
        done = await restore(checked, target)
        warnings += done.removed
        return Result.changed(f"restored {what}; {done.old}", data=data, warnings=warnings)
