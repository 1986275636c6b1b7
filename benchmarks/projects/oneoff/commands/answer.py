from oneoff import Access, BaseCommand, Result
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class Answer(BaseCommand):
    """Ask the database for one number."""

    access = Access.READ
    examples = ("answer",)

    async def handle(self, session: AsyncSession) -> Result:
        number = await session.scalar(text("SELECT 1"))
        return Result.unchanged(f"the database answered {number}")
