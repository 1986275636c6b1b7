"""`audit verify`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, CheckFailed, Option, Result, UsageError

if TYPE_CHECKING:
    from oneoff.database.engine import Database
    from oneoff.utils.hash_chain import Head

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


class Verify(BaseCommand):
    """Find changes to the record of runs that oneoff did not make.

    Each event is chained to the one before it by its hash, and each run is compared with its
    events. Only the log can show that the newest events were removed, or that the whole chain was
    written again: give --head the `audit_head` of a run that the log has. Exit code 3 means that
    something does not agree.
    """

    access = Access.READ
    examples = ("audit verify", "audit verify --json")

    head: str = Option(
        default="", help="An event that must be there, as SEQ:HASH: `audit_head` of the log."
    )

    def also_needs(self) -> tuple[str, ...]:
        return ("session",)  # the tables of the record

    async def handle(self, database: Database) -> Result:
        from oneoff.services.audit.verify import open_snapshot, verify
        from oneoff.utils.text import counted

        expected = _parse(self.head)
        async with open_snapshot(database) as connection:
            done = await verify(connection, expected)
        if done.findings:
            raise CheckFailed(
                f"the record was changed in {counted(len(done.findings), 'place')}",
                try_="python manage.py audit verify --json",
                code="audit-changed",
                data=[finding._asdict() for finding in done.findings],
            )
        if expected and expected.seq <= done.archived and str(expected) != str(done.head):
            raise UsageError(
                f"event {expected.seq} is in an archive; the database has those after "
                f"{done.archived}",
                try_="give --head a newer `audit_head` of the log",
            )
        facts = {
            "events": done.events,
            "runs": done.runs,
            "earlier_runs": done.earlier_runs,
            "archived_events": done.archived,
            "head": str(done.head),
            "head_compared": bool(expected),
        }
        message = f"{counted(done.events, 'event')} and {counted(done.runs, 'run')} agree"
        if done.earlier_runs:
            message += f"; {counted(done.earlier_runs, 'run')} from before the chain have no proof"
        return Result.report(facts, message)


def _parse(text: str) -> Head | None:
    from oneoff.utils.hash_chain import Head

    if not text:
        return None
    match = _HEAD.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--head {text!r} is not SEQ:HASH: a number and 64 hex digits",
            try_="take `audit_head` of a line `run.succeeded` in the log",
        )
    return Head(int(match[1]), match[2])
