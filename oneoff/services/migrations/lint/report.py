"""Check revisions: their SQL, the facts of the database, squawk, and the waivers in the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.services.migrations.alembic_context import StepSQL, render_offline
from oneoff.services.migrations.lint.checks import Checks
from oneoff.services.migrations.lint.facts import Facts, has_tables, read_facts
from oneoff.services.migrations.lint.operations import Operation, read_operations
from oneoff.services.migrations.lint.rules import RULES, SQUAWK
from oneoff.services.migrations.lint.squawk import find_squawk, run_squawk
from oneoff.services.migrations.lint.waivers import read_waivers
from oneoff.services.migrations.phases import CONTRACT, read_phase
from oneoff.services.migrations.required_batches import MissingBatch, find_missing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oneoff.services.migrations.history import History


class Finding(NamedTuple):
    """An operation of a revision that breaks a rule.

    Attributes:
        revision: The revision's identifier.
        file: Its file, relative to the project's root.
        rule: The name of the rule.
        subject: The table, column or other object; empty if there is none.
        why: What goes wrong, with the size of the table.
        instead: What to do instead, line by line.
        sql: The statement.
        waiver: The reason why the revision breaks the rule; empty if it gives none.
    """

    revision: str
    file: str
    rule: str
    subject: str
    why: str
    instead: list[str]
    sql: str
    waiver: str = ""


class Report(NamedTuple):
    """What was found in revisions.

    Attributes:
        revisions: The number of revisions that were checked.
        findings: What breaks a rule, in the order of the statements.
        squawk: Whether squawk was asked too.
        missing: The batches that have to finish before a revision.
    """

    revisions: int
    findings: Sequence[Finding]
    squawk: bool = False
    missing: Sequence[MissingBatch] = ()

    @property
    def unsafe(self) -> list[Finding]:
        """The findings without a waiver."""
        return [one for one in self.findings if not one.waiver]


def table_of(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Return findings as a table with one row for each line of what to do."""
    table = []
    for one in findings:
        indented = (f"    {line}" for line in one.instead)
        lines = [f"waived: {one.waiver}"] if one.waiver else [one.why, *indented]
        for place, line in enumerate(lines):
            table.append(
                {
                    "revision": "" if place else one.revision,
                    "rule": "" if place else one.rule,
                    "object": "" if place else one.subject,
                    "why, and what to do instead": line,
                }
            )
    return table


async def check_revisions(
    connection: AsyncConnection,
    history: History,
    to: str,
    current: tuple[str, ...],
    *,
    strict: bool = False,
) -> Report:
    """Check the revisions from `current` to `to`.

    Args:
        connection: The database whose facts decide.
        history: The revisions, and the options of env.py, which must have been executed.
        to: The last revision to check, as for `History.upward`.
        current: The revisions before the first one.
        strict: Judge each revision as if every table had many rows, and existed before it.

    Raises:
        CommandError: A waiver is wrong, or squawk failed.
        DBAPIError: A table stayed locked by another transaction.
    """
    steps = history.upward(to, current)
    waivers = {one.revision.revision: read_waivers(history, one.revision) for one in steps}
    if not (strict or current or await connection.run_sync(has_tables)):
        return Report(len(steps), ())  # a new database
    # Batch operations need a database on SQLite. So the SQL is always that for PostgreSQL.
    shown = render_offline(history, "postgresql", current, steps)
    facts = await connection.run_sync(_facts, [one.sql for one in shown])
    given = history.env.configure if history.env else {}
    checks = Checks(
        facts, strict=strict, version_table=str(given.get("version_table") or "alembic_version")
    )
    used = _declared(given.get("target_metadata"))
    program = find_squawk() if facts.version else ""
    findings = {
        one.step.revision.revision: list(_findings(one, checks, history, facts, used))
        for one in shown
    }
    if program:
        revisions = list(findings)
        for found in await run_squawk(program, [one.sql for one in shown], facts.version):
            id_, rule = revisions[found.place], f"squawk/{found.rule}"
            why = f"{SQUAWK[found.rule]}: {found.message}"
            file = history.describe(id_).file
            findings[id_].append(Finding(id_, file, rule, "", why, [], ""))
    return Report(
        len(shown),
        [
            one._replace(waiver=waivers[id_].get(one.rule, ""))
            for id_, of_revision in findings.items()
            for one in of_revision
        ],
        bool(program),
        await connection.run_sync(find_missing, history, steps),
    )


def _facts(connection: Any, texts: Sequence[str]) -> Facts:
    operations = [one for text in texts for one in read_operations(text)]
    tables = {one.table for one in operations if one.table}
    return read_facts(connection, tables, {one.name for one in operations if not one.table})


def _findings(
    shown: StepSQL, checks: Checks, history: History, facts: Facts, used: Mapping[str, set[str]]
) -> Iterator[Finding]:
    revision = shown.step.revision
    contracts = read_phase(history, revision) == CONTRACT
    broken = list(checks.of_revision(shown.sql))
    if shown.problem:
        broken.append(("not-checkable", Operation(kind="opaque", sql=shown.problem)))
    for name, operation in broken:
        rule = RULES[name]
        if not (facts.version or rule.everywhere):
            continue
        declared = name in _DROPS and _is_declared(operation, used)
        if name in _DROPS and contracts and not declared:
            continue
        size = str(checks.facts_of(operation.table)) if facts.version else ""
        notes = ["the models still declare it"] if declared else []
        notes += [f"{operation.table}: {size}"] if size and not rule.everywhere else []
        notes += [operation.sql] if name == "not-checkable" else []
        names = {"table": operation.table, "name": operation.name or "NAME"}
        names["words"] = " ".join(operation.words)
        yield Finding(
            revision.revision,
            history.describe(revision.revision).file,
            name,
            ".".join(filter(None, (operation.table, operation.name))),
            rule.why + "".join(f" ({note})" for note in notes),
            [line.format(**names) for line in rule.instead],
            operation.sql,
        )


_DROPS = ("drop-column", "drop-table", "drop-object")


def _declared(metadata: Any) -> dict[str, set[str]]:
    """Return the columns of each table of the models."""
    given = metadata if isinstance(metadata, Sequence) else [metadata] if metadata else []
    tables = [pair for one in given for pair in one.tables.items()]
    return {name: {column.name for column in table.columns} for name, table in tables}


def _is_declared(gone: Operation, used: Mapping[str, set[str]]) -> bool:
    columns = used.get(gone.table)
    return columns is not None and (gone.kind == "drop-table" or gone.name in columns)
