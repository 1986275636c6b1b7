"""`db rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, Confirm, DryRun, Option, Result, UsageError
from oneoff.services.backups.required import NeedsBackup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.services.migrations.history import Revision
    from oneoff.services.migrations.resource import Migrations


class Rollback(NeedsBackup):
    """Undo the newest revisions of the database schema.

    Dropped columns and tables lose their data. Check the plan with --dry-run first. In a protected
    environment it needs a recent backup. Each revision is undone in its own transaction, under the
    same lock as `db migrate`.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    lock = "migrations"
    # While a revision waits for a table, later queries of that table wait for the revision.
    lock_timeout = 5.0
    creates_schema = True
    examples = (
        "db rollback --dry-run",
        "db rollback --steps 2 --confirm=shop@staging",
        "db rollback --to 3f2a1c",
    )

    steps: int | None = Option(default=None, help="Undo this many revisions (default: 1).")
    to: str = Option(default="", help="Undo all revisions after this one; `base` undoes all.")

    def __init__(self, **values: Any) -> None:
        """Refuse contradictory options before the confirmation."""
        super().__init__(**values)
        if self.steps is not None and self.to:
            raise UsageError("--steps and --to can't be used together; give one of them")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps {self.steps} is less than 1")

    def consequence(self) -> str:
        steps = self.steps or 1
        newest = "the newest revision" if steps == 1 else f"the newest {steps} revisions"
        what = f"every revision after {self.to}" if self.to else newest
        return f"undoes {what} in {{target}}, and deletes the data of dropped tables and columns"

    async def handle(self, migrations: Migrations, run: Run, database: Database) -> Result:
        from oneoff.utils.text import counted

        target = self.to or f"-{self.steps or 1}"
        before = await migrations.current()
        if not before:
            return Result.unchanged("nothing to do: no revision is applied")
        planned = migrations.downward(target, before)
        if not planned:
            return Result.unchanged(f"nothing to do: the database is at {', '.join(before)}")
        warnings = await self.check_backup(database, run)
        if run.dry_run:
            sql = await migrations.downgrade_sql(target)
            return Result.changed(
                f"would roll back {counted(len(planned), 'revision')}, from {', '.join(before)}",
                data=[
                    row | {"drops": drops}
                    for row, drops in zip(_table(planned), sql.drops, strict=True)
                ],
                warnings=[*sql.problems, *warnings],
            )
        undone = await migrations.downgrade(target)
        after = ", ".join(await migrations.current()) or "base"
        return Result.changed(
            f"rolled back from {', '.join(before)} to {after}",
            data=_table(undone),
            warnings=warnings,
        )


def _table(revisions: Sequence[Revision]) -> list[dict[str, str]]:
    return [{"revision": revision.id, "message": revision.message} for revision in revisions]
