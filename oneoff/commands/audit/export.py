"""`audit export`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from oneoff import Access, BaseCommand, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.terminal import Terminal


class Export(BaseCommand):
    """Write the audit events of runs, in their order.

    A line of jsonl holds one event with its hash. Without filters, a program that does not use
    oneoff can verify the chain from the file: see docs/explanation/audit.md.
    """

    access = Access.READ
    examples = (
        "audit export -o audit.jsonl.gz",
        "audit export --format csv --operator ada --since 30d",
    )

    output: str = Option(default="-", short="o", help="File to write; - is standard output.")
    format: Literal["jsonl", "csv"] = Option(default="jsonl", help="Format of the file.")
    operator: str = Option(default="", help="Only events of runs that this operator started.")
    since: timedelta | None = Option(
        default=None, help="Only events of runs that started within this time: 24h, 7d."
    )
    overwrite: bool = Flag(help="Replace an existing file.")

    def fills_stdout(self) -> bool:
        return self.output == "-"

    def also_needs(self) -> tuple[str, ...]:
        return ("session",)  # the tables of the record

    async def handle(self, database: Database, run: Run, terminal: Terminal) -> Result:
        from oneoff.services.audit.export import events_of, write_events
        from oneoff.services.audit.verify import open_snapshot
        from oneoff.utils.text import counted

        since = run.started_at - self.since if self.since else None
        async with open_snapshot(database) as connection:
            done = await write_events(
                connection,
                terminal,
                self.output,
                kind=self.format,
                overwrite=self.overwrite,
                conditions=events_of(operator=self.operator, since=since),
            )
        message = f"exported {counted(done.events, 'event')}"
        if not done.complete:
            message = "stopped exporting: the reader closed the output"
        elif self.output != "-":
            message += f" to {self.output}"
        return Result.report({"events": done.events, "sha256": done.sha256}, message)
