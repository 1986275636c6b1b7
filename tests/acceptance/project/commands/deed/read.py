"""`deed read`: a command that only reads."""

from oneoff import BaseCommand, Result


class Read(BaseCommand):
    """Read one value from the database and one from Redis."""

    examples = ("deed read",)

    async def handle(self, session, cache) -> Result:
        from sqlalchemy import text

        await session.execute(text("SELECT count(*) FROM deed"))
        await cache.get("deed")
        return Result.unchanged("looked")
