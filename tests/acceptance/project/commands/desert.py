"""`desert`: exit the process from `handle`, a task, a callback or a thread."""

import asyncio
from typing import Literal

from sqlalchemy import text

from oneoff import Access, Argument, BaseCommand, DryRun, Result


def leave() -> None:
    """Exit the process, as a library may do that was written for its own program."""
    raise SystemExit(0)


async def leave_soon() -> None:
    """Exit the process in a task."""
    leave()


class Desert(BaseCommand):
    """Write a row, and exit with 0."""

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    examples = ("desert task",)

    where: Literal["handle", "task", "callback", "thread"] = Argument(help="Where to exit.")

    async def handle(self, session) -> Result:
        await session.execute(text("INSERT INTO item (name) VALUES ('half done')"))
        if self.where == "handle":
            leave()
        elif self.where == "task":
            await asyncio.create_task(leave_soon())
        elif self.where == "callback":
            asyncio.get_running_loop().call_soon(leave)
        else:
            await asyncio.to_thread(leave)
        await asyncio.Event().wait()
        return Result.changed("never", rows=1)
