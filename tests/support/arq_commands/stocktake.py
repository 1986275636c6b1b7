"""`stocktake`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.services.jobs.queue import Jobs


class Stocktake(BaseCommand):
    """Queue a job though it only reads."""

    examples = ("stocktake",)

    async def handle(self, jobs: Jobs) -> Result:
        """Queue one."""
        await jobs.enqueue("sum", left=2)
        return Result.unchanged("never said")
