"""`db lint`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff import Access, BaseCommand, CheckFailed, Flag, Option, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oneoff.services.migrations.lint.report import Finding, Report
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
        report = await migrations.lint(self.revision, since=self.since, strict=self.strict)
        data = [one._asdict() for one in report.findings]
        message = _message(report)
        if self.check and report.unsafe:
            raise CheckFailed(
                message,
                why="; ".join(dict.fromkeys(f"{one.rule}: {one.why}" for one in report.unsafe)),
                try_=(
                    "python manage.py db lint",
                    'or add a waiver to the revision: lint_waivers = {"RULE": "reason"}',
                ),
                code="unsafe-migration",
                data=data,
            )
        return Result.report(data, message, table=list(_rows(report.findings)))


def _message(report: Report) -> str:
    from oneoff.utils.text import counted

    found = f"{len(report.unsafe)} unsafe" if report.unsafe else "nothing unsafe"
    waived = len(report.findings) - len(report.unsafe)
    parts = [f"{found} in {counted(report.revisions, 'revision')}"]
    parts += [counted(waived, "waiver")] if waived else []
    parts += ["squawk was not asked"] if not report.squawk else []
    return "; ".join(parts)


def _rows(findings: Any) -> Iterator[dict[str, str]]:
    """Yield one row for each line of what to do."""
    for one in findings:
        lines = [f"waived: {one.waiver}"] if one.waiver else [one.why, *_indented(one)]
        for place, line in enumerate(lines):
            yield {
                "revision": "" if place else one.revision,
                "rule": "" if place else one.rule,
                "object": "" if place else one.subject,
                "why, and what to do instead": line,
            }


def _indented(finding: Finding) -> list[str]:
    return [f"    {line}" for line in finding.instead]
