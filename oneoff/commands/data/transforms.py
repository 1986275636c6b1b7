"""`data transforms`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from oneoff.core.project import Project


class Transforms(BaseCommand):
    """List the project's transforms and their progress in this database."""

    access = Access.READ
    examples = ("data transforms", "data transforms --json")

    async def handle(self, session: AsyncSession, project: Project) -> Result:
        from oneoff.services.transforms.run import list_transforms

        return Result.report(await list_transforms(session, project))
