"""`tally careful`: wait while the first row is old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Update, select, update

from oneoff import BatchCommand, Throttle
from tests.support.tally_project import Tally

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Brake:
    """Reads the first row."""

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return its age as the reason to wait, if it is above 100."""
        age = await connection.scalar(select(Tally.age).where(Tally.id == 1))
        return f"first_row {age} > 100" if age and age > 100 else None


class Careful(BatchCommand):
    """Do every row once, while the first one is young."""

    examples = ("tally careful --confirm",)
    range_column = "id"

    def change(self) -> Update:
        """Count each row once."""
        return update(Tally).values(n=Tally.n + 1)

    def probes(self) -> Sequence[Throttle]:
        """Return the one probe."""
        return (Brake(),)
