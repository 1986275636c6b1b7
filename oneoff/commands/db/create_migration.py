"""`db create-migration`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import (
    Access,
    BaseCommand,
    CheckFailed,
    CommandError,
    DryRun,
    Flag,
    Option,
    Result,
    UsageError,
)

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.migrations.autogenerate import Difference
    from oneoff.services.migrations.resource import Migrations


class CreateMigration(BaseCommand):
    """Write a revision that makes the database match the models.

    It compares the models with the connected database, which must be at the newest revision. Before
    the file is written, the revision is applied, undone and applied again on a scratch database.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    examples = (
        'db create-migration -m "add users.locale"',
        'db create-migration -m "backfill users.locale" --empty',
        "db create-migration --check",
    )

    message: str = Option(default="", short="m", help="What the revision is for.")
    empty: bool = Flag(help="Write a revision without operations, which you fill in by hand.")
    merge: bool = Flag(help="Write a revision that merges several heads.")
    allow_drops: bool = Flag(help="Allow a revision that drops tables or columns.")
    no_verify: bool = Flag(help="Write the revision without trying it on a scratch database.")
    check: bool = Flag(help="Write nothing; exit 3 if the models and the database differ.")

    def only_reads(self) -> bool:
        return self.check

    async def handle(self, migrations: Migrations, run: Run) -> Result:
        self._check_inputs()
        if self.merge:
            return await self._merge(migrations, run)
        head = migrations.history.only_head()
        if self.empty:
            heads = [head] if head else []
            return await self._write(
                migrations, run, await migrations.blank(self.message.strip(), heads)
            )
        await self._check_current(migrations)
        difference = await migrations.difference(self.message.strip())
        if self.check and difference.operations:
            raise _drift(difference)
        if not difference.operations:
            from oneoff.services.migrations.autogenerate import AGREEMENT

            return Result.unchanged(f"nothing to do: {AGREEMENT}", warnings=difference.warnings)
        if difference.drops and not self.allow_drops:
            raise _drops_refused(difference)
        return await self._write(migrations, run, difference)

    def _check_inputs(self) -> None:
        problems: list[str] = []
        if self.empty + self.merge + self.check > 1:
            problems.append("--empty, --merge and --check can't be used together")
        if not self.message.strip() and not self.check:
            problems.append("-m is missing: what the revision is for")
        if problems:
            example = 'python manage.py db create-migration -m "add users.locale"'
            raise UsageError(problems, try_=example)

    async def _check_current(self, migrations: Migrations) -> None:
        pending = await migrations.pending()
        if pending:
            kind = CheckFailed if self.check else CommandError
            raise kind(
                f"revisions that are not applied to this database: {len(pending)}",
                why="the models are compared with the connected database",
                try_="python manage.py migrate",
                code="migrations-pending",
            )

    async def _merge(self, migrations: Migrations, run: Run) -> Result:
        heads = migrations.history.heads
        if len(heads) < 2:  # noqa: PLR2004 - what merging means
            return Result.unchanged("nothing to do: there is only one head")
        return await self._write(
            migrations, run, await migrations.blank(self.message.strip(), heads)
        )

    async def _write(self, migrations: Migrations, run: Run, new: Difference) -> Result:
        from oneoff.utils.text import counted

        operations = [{"operation": operation} for operation in new.operations]
        if not new.scripts:
            return Result.unchanged(
                "nothing to do: process_revision_directives in env.py left no revision"
            )
        if run.dry_run:
            return Result.changed(
                f"would write a revision with {counted(len(operations), 'operation')}",
                data=operations,
            )
        empty = not operations and not self.merge
        written = await migrations.write(new, verified=not empty and not self.no_verify)
        warnings = [*new.warnings, *written.warnings]
        if self.no_verify and not empty:
            warnings.append("the revision was not tried on a scratch database")
        note = "; it is empty, so it was not tried" if empty else ""
        return Result.changed(
            f"wrote {', '.join(written.files)}{note}", data=operations, warnings=warnings
        )


def _drops_refused(difference: Difference) -> CommandError:
    renames = [
        f"if you renamed {rename}, write op.alter_column or op.rename_table by hand: add --empty"
        for rename in difference.renames
    ]
    return CommandError(
        f"the revision would drop what no model declares: {', '.join(difference.drops)}",
        why="their data would be lost",
        try_=(
            *renames,
            "to drop them, add --allow-drops",
            "to keep tables, exclude them in env.py: run_env(Base.metadata, include_name=...)",
        ),
        code="drops-refused",
        data=[{"operation": operation} for operation in difference.operations],
    )


def _drift(difference: Difference) -> CheckFailed:
    from oneoff.utils.text import counted

    return CheckFailed(
        f"the models differ from the database in {counted(len(difference.operations), 'place')}",
        try_='python manage.py db create-migration -m "what changed"',
        code="schema-drift",
        data=[{"operation": operation} for operation in difference.operations],
    )
