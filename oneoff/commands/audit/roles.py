"""`audit roles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, Argument, BaseCommand, Result

if TYPE_CHECKING:
    from oneoff.database.transaction import WorkTransaction


class Roles(BaseCommand):
    """Print the SQL for a role that can add to the record of runs only.

    With these rights on the framework's tables, the application and its commands can run, and can
    neither change nor delete audit events. The rights on your own tables are not included. Tables
    are then owned by another role, which MIGRATION_DATABASE_URL names.
    """

    access = Access.READ
    examples = ("audit roles shop_app", "audit roles shop_app | psql")

    role: str = Argument(help="The role that DATABASE_URL names.")

    async def handle(self, work: WorkTransaction) -> Result:
        from oneoff.services.audit.roles import grants

        return Result.report(await grants(work.connection, self.role))
