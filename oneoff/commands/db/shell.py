"""`db shell`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, Confirm, DryRun, Flag, Option, Result

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.terminal import Terminal


class Shell(BaseCommand):
    """Open psql or sqlite3 on the project's database.

    In production, the database is read-only unless you give --write, which asks for confirmation.
    This prevents accidents, not attacks: a user with write permission can turn it off in psql.
    The run is recorded, but not the statements that you type. If MIGRATION_DATABASE_URL is set,
    the client uses it, so that it does not connect through a pooler.

    It is read-only too where the run can't be recorded: on a standby server, or with a user who may
    only read.

    Statements can also come from standard input. The client stops at the first one that fails.
    """

    access = Access.WRITE
    dry_run = DryRun.UNSUPPORTED
    confirm_only_protected = True
    allow_agents = False
    examples = ("db shell", 'db shell -c "SELECT count(*) FROM users"', "db shell --write")

    sql: str = Option(default="", short="c", help="Run this statement and exit.")
    write: bool = Flag(help="Allow writes in production; asks for confirmation.")

    def confirm_level(self) -> Confirm:
        return Confirm.PROMPT if self.write else Confirm.NEVER

    def works_unrecorded(self) -> bool:
        return not self.write  # `handle` then opens a read-only session

    def consequence(self) -> str:
        return "opens {target} for writing"

    def also_needs(self) -> tuple[str, ...]:
        # MIGRATION_DATABASE_URL leads past a pooler, which can't keep the settings of a session, as
        # read-only is one. With this the entire run uses it: gate, record and client.
        return ("migrations",)

    async def handle(
        self, config: Config, database: Database, run: Run, terminal: Terminal
    ) -> Result:
        from oneoff.services.shell.database_client import Client, run_client
        from oneoff.services.shell.input_record import is_recorded

        async with database.autocommit("audit") as connection:
            unrecorded = await is_recorded(connection, database, run.id) is False
        client = Client(
            database.url,
            read_only=not self.write and (run.protected or unrecorded),
            sql=self.sql,
            interactive=terminal.interactive and not self.sql,
        )
        await run_client(client, config.environ)
        return Result.report(None)
