"""`stocktake`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.services.jobs.queue import Jobs


class Stocktake(BaseCommand):
    """Try to queue a job in a command that only reads."""

    examples = ("stocktake",)

    async def handle(self, jobs: Jobs) -> Result:
        """Queue a job."""
        await jobs.enqueue("sum", left=2)
        return Result.unchanged("never returned")
