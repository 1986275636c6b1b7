"""`fill`: write rows, then wait."""

import asyncio
from pathlib import Path
from typing import Literal

from oneoff import Access, Argument, BaseCommand, DryRun, Option, Result


class Fill(BaseCommand):
    """Write ten items, create a file, and wait indefinitely."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("fill /tmp/marker", "fill /tmp/marker --wait-in sql")

    marker: Path = Argument(help="File to create when the rows are written.")
    wait_in: Literal["loop", "sql", "nothing"] = Option(default="loop", help="Where to wait.")

    async def handle(self, session) -> Result:
        from sqlalchemy import text

        from app.models import Item

        session.add_all(Item(name=f"item {number}") for number in range(10))
        await session.flush()
        self.marker.touch()
        if self.wait_in == "sql":
            await session.execute(text("SELECT pg_sleep(600)"))
        if self.wait_in == "loop":
            await asyncio.Event().wait()
        return Result.changed("wrote 10 items", rows=10)
