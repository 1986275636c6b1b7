"""`db backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.database.engine import Database


class Backup(BaseCommand):
    """Write a backup of the database to a file.

    For PostgreSQL it is an archive of pg_dump, for SQLite a copy of the file. A second file with
    the same name and `.json` describes it. Both appear only when they are complete. `db restore`
    restores them. The database can be used meanwhile.
    """

    access = Access.READ
    allow_agents = False
    examples = ("db backup", "db backup -o /backups/shop.dump")

    output: str = Option(
        default="",
        short="o",
        help="File to write; by default named after database, environment and time.",
    )
    overwrite: bool = Flag(help="Replace an existing file.")

    def also_needs(self) -> tuple[str, ...]:
        return ("migrations",)  # pg_dump can't work through a pooler

    async def handle(
        self,
        config: Config,
        database: Database,
        run: Run,
        open: Any,  # noqa: A002 - the name of the resource
    ) -> Result:
        import oneoff
        from oneoff.services.backups.create import Source, back_up, default_path

        migrations = await open("migrations") if config.project.migrations else None
        source = Source(database, migrations, config, run, oneoff.__version__)
        path = self.output or default_path(database, run.environment, run.started_at)
        made = await back_up(source, path, overwrite=self.overwrite)
        warnings = list(made.warnings)
        if database.facts is None or not database.facts.schema_ready:
            warnings.append("this backup is not in the record, so `rollback` does not count it")
        data = {"path": made.path, **made.manifest.facts()}
        return Result.changed(made.summary, data=data, warnings=warnings, answer=made.path)
