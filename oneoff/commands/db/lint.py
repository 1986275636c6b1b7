"""`db lint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CheckFailed, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.services.migrations.lint.report import Report
    from oneoff.services.migrations.resource import Migrations


class Lint(BaseCommand):
    """Find unsafe operations in the pending revisions.

    An operation is unsafe if it blocks the application for as long as it reads or writes a large
    table, or if the running code fails afterwards. The size of the tables is that in the connected
    database. For each finding, the safe way is shown. If `squawk` is installed, its checks are
    included.
    """

    access = Access.READ
    examples = ("db lint", "db lint --check", "db lint --strict --since 3f2a1c")

    revision: str = Option(default="heads", help="Check up to this revision.")
    since: str = Option(
        default="", help="Check the revisions after this one, also applied ones; or `base`."
    )
    strict: bool = Flag(
        help="Judge every table as large and in use, unless the same revision creates it; for CI."
    )
    check: bool = Flag(help="Exit 3 if something is unsafe and has no waiver.")

    async def handle(self, migrations: Migrations) -> Result:
        from oneoff.services.migrations.lint.report import table_of

        report = await migrations.lint(self.revision, since=self.since, strict=self.strict)
        data = [one._asdict() for one in report.findings]
        message = _message(report)
        if self.check and report.unsafe:
            raise CheckFailed(
                message,
                try_=(
                    "python manage.py db lint",
                    'or add a waiver to the revision: lint_waivers = {"RULE": "reason"}',
                ),
                code="unsafe-migration",
                data=data,
                table=table_of(report.findings),
            )
        return Result.report(data, message, table=table_of(report.findings))


def _message(report: Report) -> str:
    from oneoff.utils.text import counted

    found = f"{len(report.unsafe)} unsafe" if report.unsafe else "nothing unsafe"
    waived = len(report.findings) - len(report.unsafe)
    parts = [f"{found} in {counted(report.revisions, 'revision')}"]
    parts += [counted(waived, "waiver")] if waived else []
    parts += ["squawk was not asked"] if not report.squawk else []
    return "; ".join(parts)
