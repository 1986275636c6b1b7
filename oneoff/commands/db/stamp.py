"""`db stamp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, CommandError, Confirm, DryRun, Flag, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.services.migrations.resource import Migrations


class Stamp(BaseCommand):
    """Store that a revision is applied, without running it.

    For a database whose tables were not made by these revisions. Without --force it stores
    only the newest revision, and only if the database has none yet and its tables agree with the
    models. The result names what is not compared, such as rows and triggers. `base` stores that no
    revision is applied.
    """

    access = Access.WRITE
    confirm = Confirm.TYPE_NAME
    dry_run = DryRun.PLAN
    lock = "migrations"
    creates_schema = True
    examples = ("db stamp head --dry-run", "db stamp 0004 --force --confirm=shop@staging")

    revision: str = Argument(help="head, heads, base, a revision, or the beginning of one.")
    force: bool = Flag(help="Stamp without a proof that the tables are those of the revision.")

    def consequence(self) -> str:
        return f"stores that {{target}} is at {self.revision}, without running a revision"

    async def handle(self, migrations: Migrations, run: Run) -> Result:
        current = await migrations.current()
        target = migrations.history.stamped(self.revision, current)
        before, after = (", ".join(each) or "no revision" for each in (current, target))
        if set(current) == set(target):
            return Result.unchanged(f"nothing to do: the database is at {before}")
        problem, advice = await _unproved(migrations, current, target)
        if problem and not self.force:
            raise CommandError(
                f"it can't be proved that the database is at {after}: {problem}",
                why="with a wrong stamp, later revisions fail, or change the wrong tables",
                try_=(*advice, f"python manage.py db stamp {self.revision} --force --dry-run"),
                code="stamp-not-proved",
            )
        proof = f"not proved: {problem}" if problem else _agreement()
        if run.dry_run:
            return Result.changed(f"would stamp {after}, from {before}; {proof}")
        await migrations.stamp(self.revision)
        return Result.changed(f"stamped {after}, from {before}; {proof}")


def _agreement() -> str:
    from oneoff.services.migrations.autogenerate import AGREEMENT

    return AGREEMENT


async def _unproved(
    migrations: Migrations, current: tuple[str, ...], target: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """Return why the revisions can't be proved, and what to try; empty if the models agree."""
    if set(target) != set(migrations.history.heads):
        return "the models are those of the newest revision", ()
    if current:
        from oneoff.services.migrations.autogenerate import NOT_COMPARED

        return (
            "it has revisions, and a comparison does not show what the skipped ones do to "
            f"{NOT_COMPARED}"
        ), ("python manage.py migrate",)
    if not await migrations.has_models():
        return "env.py passes no models to compare with", ()
    difference = await migrations.difference()
    if not difference.operations:
        return "", ()
    from oneoff.utils.text import counted

    found = counted(len(difference.operations), "difference")
    return (
        f"{found} from the models; the first: {difference.operations[0]}",
        ('python manage.py makemigrations -m "what differs"',),
    )
