"""`tally chained`: run a batch, then call another command from code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Result, call_command
from tests.support.tally_commands.tally.raise_all import RaiseAll

if TYPE_CHECKING:
    from oneoff.services.batch.command import Batches


class Chained(RaiseAll):
    """Do every row once, then let `tally add` do every row once."""

    examples = ("tally chained --confirm",)

    async def handle(self, batches: Batches) -> Result:
        """Run the batch, and call the command."""
        first = await batches.run(self)
        second = await call_command("tally add", confirm=True)
        return Result.changed("both", rows=first.rows + second.rows)
