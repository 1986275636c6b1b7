"""`wipe-about`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.approval_commands.wipe import Wipe

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff import Result


class WipeAbout(Wipe):
    """Delete all events of a kind; two people must approve, and a few rows more may be deleted."""

    approvals = 2
    approval_tolerance = 0.5
    examples = ("wipe-about signup",)

    async def handle(self, session: AsyncSession) -> Result:
        """Delete them."""
        return await super().handle(session)
