"""Refuse revisions that are unsafe, or that need a batch, before the first one is applied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from oneoff.core.errors import Refused
from oneoff.services.migrations.lint.report import table_of
from oneoff.services.migrations.required_batches import batch_required
from oneoff.utils.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oneoff.core.run import Run
    from oneoff.services.migrations.lint.report import Finding
    from oneoff.services.migrations.resource import Migrations


async def check_before_migrate(migrations: Migrations, to: str, run: Run) -> list[str]:
    """Return warnings: what is unsafe in the pending revisions, and has no waiver.

    Raises:
        Refused: There is something, and the environment is protected. Or a revision requires a
            batch that has not finished. A dry run is not refused, but warned of both.
        CommandError: A waiver is wrong, or squawk failed.
    """
    report = await migrations.lint(to)
    if report.missing and not run.dry_run:
        raise batch_required(report.missing)
    lines = [_line(one) for one in report.unsafe]
    required = [f"{one}, which has not finished here" for one in report.missing]
    if not lines:
        return required
    if run.protected and not run.dry_run:
        raise _refused(report.unsafe, run.environment)
    refused = "migrate will refuse this here" if run.protected else "production would refuse this"
    return [*required, *lines, f"{refused}: see `python manage.py db lint`"]


def _line(one: Finding) -> str:
    subject = f" ({one.subject})" if one.subject else ""
    return f"revision {one.revision}: {one.rule}{subject}: {one.why}"


def _refused(unsafe: list[Finding], environment: str) -> Refused:
    revisions = list(dict.fromkeys(one.revision for one in unsafe))
    return Refused(
        f"{counted(len(unsafe), 'unsafe operation')} in {', '.join(revisions)}; nothing applied",
        why=f"{environment} is protected",
        try_=(
            "python manage.py db lint",
            *(f"if it is safe here, write into {waiver}" for waiver in _waivers(unsafe)),
        ),
        code="unsafe-migration",
        data=[one._asdict() for one in unsafe],
        table=table_of(unsafe),
    )


def _waivers(unsafe: Iterable[Finding]) -> Iterator[str]:
    rules: dict[str, dict[str, str]] = {}
    for one in unsafe:
        rules.setdefault(one.file, {})[one.rule] = "REASON"
    for file, found in rules.items():
        yield f"{file}: lint_waivers = {json.dumps(found)}"
