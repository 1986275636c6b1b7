"""`db reset`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Confirm, DryRun, Flag, Result
from oneoff.services.backups.required import NeedsBackup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.project import Project
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.services.migrations.drop_all import DatabaseObject
    from oneoff.services.migrations.resource import Migrations
    from oneoff.services.migrations.seed import Seed


class Reset(NeedsBackup):
    """Drop all objects of the project in the database, and migrate again.

    Tables, views, sequences, types and routines are dropped with all their data. The framework's
    own tables stay, because they contain the record of every run. If a revision fails, nothing was
    dropped, unless a revision left its transaction. In a protected environment it needs a recent
    backup.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    lock = "migrations"
    # While a revision waits for a table, later queries of that table wait for the revision.
    lock_timeout = 5.0
    creates_schema = True
    examples = ("db reset --dry-run", "db reset --seed --confirm=shop@development")

    seed: bool = Flag(help="Load the sample data after the migration.")

    def consequence(self) -> str:
        return "drops every table, view, type and routine in {target}, and migrates again"

    async def handle(
        self, migrations: Migrations, project: Project, run: Run, database: Database
    ) -> Result:
        from oneoff.utils.text import counted

        seeds = self._seeds(project, run)  # refused before anything is dropped
        warnings = await self.check_backup(database, run)
        revisions = counted(len(migrations.history.upward("heads", ())), "revision")
        if run.dry_run:
            objects = await migrations.database_objects()
            return Result.changed(
                f"would drop {counted(len(objects), 'object')} and apply {revisions}",
                data=_table(objects),
                warnings=warnings,
            )
        objects = await migrations.reset()
        await migrations.ensure_environment(run.environment)
        rows = await _load(migrations, seeds) if seeds else 0
        return Result.changed(
            f"dropped {counted(len(objects), 'object')}, applied {revisions}"
            + (f", loaded {counted(rows, 'row')}" if seeds else ""),
            rows=rows,
            data=_table(objects),
            warnings=warnings,
        )

    def _seeds(self, project: Project, run: Run) -> list[Seed]:
        if not self.seed:
            return []
        from oneoff.services.migrations.seed import choose_seeds

        return choose_seeds(project, run)[0]


async def _load(migrations: Migrations, seeds: Sequence[Seed]) -> int:
    from oneoff.services.migrations.seed import load_seeds

    async with migrations.begin_work() as work:
        loaded = await load_seeds(work.session, seeds)
        await work.commit()
    return sum(seed["rows"] for seed in loaded)


def _table(objects: Sequence[DatabaseObject]) -> list[dict[str, str]]:
    return [
        {
            "kind": found.kind.lower(),
            "name": ".".join(filter(None, (found.schema, found.name))) + found.arguments,
        }
        for found in objects
    ]
