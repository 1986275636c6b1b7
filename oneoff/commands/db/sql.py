"""`db sql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Flag, Result

if TYPE_CHECKING:
    from oneoff.services.migrations.resource import Migrations


class SQL(BaseCommand):
    """Show the SQL of one revision, applied or not.

    Nothing is run. What a revision reads from the database to decide what to do can't be shown; a
    warning says so.
    """

    access = Access.READ
    examples = ("db sql 0004", "db sql 0004 --down")

    revision: str = Argument(help="The revision, or the beginning of one.")
    down: bool = Flag(help="Show the SQL that undoes it.")

    async def handle(self, migrations: Migrations) -> Result:
        sql = await migrations.sql_of(self.revision, down=self.down)
        return Result.report(sql.text, warnings=sql.problems)
