"""`aside read`: a read-only command that writes."""

from oneoff import BaseCommand, Result


class Read(BaseCommand):
    """Declare read access, and write."""

    examples = ("aside read",)

    async def handle(self, database) -> Result:
        from app.aside import write_through

        await write_through(database.engine)
        return Result.unchanged("wrote")
