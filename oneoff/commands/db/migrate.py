"""`db migrate`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CheckFailed, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.run import Run
    from oneoff.runtime.progress import Progress
    from oneoff.services.migrations.history import Revision
    from oneoff.services.migrations.resource import Migrations


class Migrate(BaseCommand):
    """Migrate the database schema to the newest revision.

    The framework's own tables are migrated first. Then the pending revisions run one by one, each
    in its own transaction. Any number of processes can run `migrate` at the same time: one does
    the work, and the others wait until it is done. A revision waits up to 5 seconds for the locks
    of its tables and is tried several times, so that it does not block the application for long.
    In a protected environment, unsafe revisions without a waiver are refused: see `db lint`. The
    `checks` of a revision are called before it is applied.
    """

    access = Access.WRITE
    dry_run = DryRun.PLAN
    lock = "migrations"
    # While a revision waits for a table, later queries of that table wait for the revision.
    lock_timeout = 5.0
    creates_schema = True
    examples = (
        "db migrate",
        "db migrate --dry-run",
        "db migrate --check",
        "db migrate --revision 3f2a1c --wait 60s",
    )

    revision: str = Option(
        default="head",
        help="Stop at this revision: its id, the beginning of its id, or +2; `heads` applies all "
        "branches.",
    )
    plan: bool = Flag(help="List the pending revisions and change nothing.")
    check: bool = Flag(help="Change nothing; exit 3 if revisions are pending.")
    wait: timedelta = Option(
        default=timedelta(0), help="Wait up to this long for a database that is starting."
    )

    def only_reads(self) -> bool:
        return self.plan or self.check

    def database_wait(self) -> float:
        return self.wait.total_seconds()

    async def handle(self, migrations: Migrations, run: Run, progress: Progress) -> Result:
        read_only = self.only_reads() or run.dry_run
        if self.revision in ("head", "heads") and (head := await migrations.head_if_applied()):
            stored = not read_only and await migrations.ensure_environment(run.environment)
            return _nothing_to_do(f"{head} (head)", run.environment if stored else "")
        pending = await migrations.pending(self.revision)
        if not pending and not self.check:
            migrations.history.check_not_past(self.revision, await migrations.current())
        if read_only:
            return await self._preview(migrations, pending, run)
        warnings = await _unsafe(migrations, self.revision, run) if pending else []
        progress.start(len(pending), unit="revisions")
        left = [one.id for one in pending]

        def done(_: Revision) -> None:
            progress.advance()
            left[:1] = []

        async with progress.timing(lambda: f"applying {left[0]}" if left else "applying"):
            applied = await migrations.upgrade(self.revision, on_step=done)
        stored = await migrations.ensure_environment(run.environment)
        current = ", ".join(await migrations.current())
        if not applied:
            return _nothing_to_do(current or "no revision", run.environment if stored else "")
        warnings += [
            f"the invalid index {index}, which an interrupted run left, was created again"
            for index in migrations.replaced
        ]
        message = f"applied {_revisions(applied)}; the database is at {current}"
        return Result.changed(message, data=_table(applied), warnings=warnings)

    async def _preview(
        self, migrations: Migrations, pending: Sequence[Revision], run: Run
    ) -> Result:
        if not pending:
            return _nothing_to_do(", ".join(await migrations.current()) or "no revision")
        if self.check:
            raise CheckFailed(
                f"{_revisions(pending)} pending",
                why="the code expects a newer schema than the database has",
                try_="python manage.py migrate"
                + ("" if self.revision == "head" else f" --revision {self.revision}"),
                code="migrations-pending",
                data=_table(pending),
            )
        if self.plan:
            return Result.report(_table(pending), f"{_revisions(pending)} pending")
        sql = await migrations.upgrade_sql(self.revision)
        failing = await migrations.failed_checks(self.revision)
        warnings = [*sql.problems, *await _unsafe(migrations, self.revision, run), *failing]
        return Result.changed(
            f"would apply {_revisions(pending)}", data=sql.text, warnings=warnings
        )


async def _unsafe(migrations: Migrations, to: str, run: Run) -> list[str]:
    from oneoff.services.migrations.safety import check_before_migrate

    return await check_before_migrate(migrations, to, run)


def _nothing_to_do(where: str, stored_environment: str = "") -> Result:
    message = f"nothing to do: the database is at {where}"
    if stored_environment:
        return Result.changed(f"{message}; stored its environment: {stored_environment}")
    return Result.unchanged(message)


def _revisions(revisions: Sequence[Revision]) -> str:
    return f"{len(revisions)} revision{'' if len(revisions) == 1 else 's'}"


def _table(revisions: Sequence[Revision]) -> list[dict[str, str]]:
    return [{"revision": revision.id, "message": revision.message} for revision in revisions]
