"""Decide whether a run is recorded, and where, and see to it that its record is closed.

A run that writes, or that somebody confirms, belongs in the runs table. Where that can't be
written, a command that writes to the database is refused; any other warns and is recorded in the
log stream alone. A dry run, and inputs that only look, don't warn. The row itself is written by
`record`, which is imported only where a database is.

The executor calls `connect` (step 3 of a run), `record_intent` (step 4) and `close` (step 9). It
also gives the database connected to here to the command.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from oneoff.config.operator_identity import code_version
from oneoff.core.errors import CommandError, ConfigurationError, Refused, Unavailable
from oneoff.core.policy import Access, Confirm, Mode
from oneoff.runtime.container import NEED_DATABASE, NEED_TABLES

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.environment import Facts
    from oneoff.core.outcome import Call, Outcome
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.application import Application
    from oneoff.runtime.audit.record import RunRecord
    from oneoff.utils.redaction import Redactor


class Recorder:
    """Keeps the record of one run.

    Args:
        app: The project.
        call: The command that runs.
        mode: How the run may change things.
        redactor: Masks secrets before the row exists.
        warnings: Gets what the operator has to know about the record.

    Attributes:
        asks_for: Names of the resources that the command may open.
        database: Connected to, for the record and for the command; None where there is none.
        facts: What the database says of itself; None until `connect` has read it.
    """

    def __init__(
        self, app: Application, call: Call, mode: Mode, redactor: Redactor, warnings: list[str]
    ) -> None:
        self._app, self._call, self._mode = app, call, mode
        self._redactor = redactor
        self._warnings = warnings
        self.asks_for = frozenset((*call.command.resources(), *call.command.also_needs()))
        self._writes = call.command.access is Access.WRITE
        self._record: RunRecord | None = None
        self._stack = AsyncExitStack()
        self.database: Database | None = None
        self.facts: Facts | None = None

    @property
    def needs_database(self) -> bool:
        """Whether the command itself asks for the database, directly or for its session."""
        return bool(self.asks_for & NEED_DATABASE)

    @property
    def must_record(self) -> bool:
        """Whether the run belongs in the runs table although it asks for no database."""
        command = self._call.command
        return self._writes or max(command.confirm, command.confirm_level()) is not Confirm.NEVER

    async def connect(self, run: Run) -> None:
        """Connect, and read what the database says about itself; nothing where none is needed.

        Raises:
            Unavailable: The database can't be reached, and the command needs it.
            ConfigurationError: The URL is wrong, or the database has not been migrated.
            Refused: The run can't be recorded, and the setting AUDIT_REQUIRED is on.
        """
        if not (self.must_record or self.needs_database):
            return
        from oneoff.database.engine import Database
        from oneoff.database.schema.facts import check_same_database
        from oneoff.runtime.audit.record import RunRecord

        url = self._url()
        if url is None:
            self._use_the_log_alone("the database does not exist yet")
            return
        self.database = Database(url, run_id=run.id)
        self._stack.push_async_callback(self.database.dispose)
        try:
            await self.database.wait_until_up(self._call.command.database_wait())
            opened = RunRecord.open(self.database, self._redactor)
            self._record = await self._stack.enter_async_context(opened)
            self.facts = await self._record.read_facts()
            await check_same_database(self.facts, url, self._app.database_url())
        except Unavailable as exc:
            if self.needs_database:
                raise
            self._use_the_log_alone(exc.message)

    async def record_intent(self, run: Run) -> None:
        """Commit the run's row before any work is done; `migrate` creates its table first.

        Raises:
            CommandError: The row can't be written, and the run must not go on without.
        """
        if self._record is None or self.facts is None or self.database is None:
            return
        if not self.facts.schema_ready and self._may_create_schema():
            from oneoff.database.schema.upgrade import ensure_schema

            await ensure_schema(self.database)
            self.facts = await self._record.read_facts()
        if self.facts.schema_ready:
            await self._insert_or_use_the_log(run)
        elif self._writes and self.asks_for & NEED_TABLES and self._mode is not Mode.READ_ONLY:
            raise self._not_migrated()
        elif self.must_record:
            self._use_the_log_alone("the database has not been migrated")

    async def close(self, run: Run, outcome: Outcome) -> Outcome:
        """Write how the run ended, and disconnect; a refusal gets its row only now.

        Returns:
            The outcome, which is an error where the record could not be closed.
        """
        async with self._stack:
            if self._record is None or not self._record.can_record:
                return outcome
            try:
                if not self._record.may_exist and isinstance(outcome.error, Refused):
                    await self._insert(run)
                if self._record.may_exist:
                    await self._record.close_row(outcome)
            except CommandError as exc:
                return replace(outcome, error=outcome.error or _not_closed(outcome, exc))
        return outcome

    def _url(self) -> DatabaseURL | None:
        """Return what to connect to, or None: no file, and the command needs no database.

        On PostgreSQL that is always the database itself. Connecting to a SQLite file that is not
        there would create it. So only a run that is meant to create it gets its URL, and a run that
        only looks gets an empty database in memory.

        Raises:
            ConfigurationError: There is no file, and the command needs the framework's tables.
        """
        url = self._app.database_url(for_migrations="migrations" in self.asks_for)
        makes_it = self._may_create_schema() or not self.asks_for & NEED_TABLES
        if url.exists() or (self.needs_database and self._mode is Mode.COMMIT and makes_it):
            return url
        if self.asks_for & NEED_TABLES:
            raise self._not_migrated()
        return url.empty() if self.needs_database else None

    def _may_create_schema(self) -> bool:
        return self._call.command.creates_schema and self._mode is Mode.COMMIT

    async def _insert_or_use_the_log(self, run: Run) -> None:
        """Refuse to write to the database unrecorded; the rest goes on, on a standby server too."""
        try:
            await self._insert(run)
        except CommandError as exc:
            if self._writes and self.needs_database:
                raise
            self._use_the_log_alone(exc.message)

    async def _insert(self, run: Run) -> None:
        if self._record is not None:
            version = code_version(self._app.config.environ, self._app.config.root)
            await self._record.insert_row(run, self._call, code_version=version)

    def _use_the_log_alone(self, reason: str) -> None:
        """Warn, and leave the record to the log stream; or refuse, where that is not enough.

        A run that changes nothing goes on without a warning.
        """
        if self._call.options.dry_run or self._call.command.only_reads():
            return
        if self._app.config.audit_required:
            raise Refused(
                f"{self._call.name} can't be recorded: {reason}",
                why="AUDIT_REQUIRED is on",
                try_="python manage.py migrate",
                code="audit-required",
            )
        self._warnings.append(f"this run is recorded in the log only: {reason}")

    def _not_migrated(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._call.name} needs a database that has been migrated",
            why=f"in {self._app.database_url().safe()} the tables that record runs are missing, or "
            "older than this code",
            try_="python manage.py migrate",
            code="not-migrated",
        )


def _not_closed(outcome: Outcome, exc: CommandError) -> CommandError:
    return CommandError(
        f"{outcome.command} did its work, but its record could not be closed: {exc.message}",
        why="the run stays open in the audit list and will be marked abandoned",
        try_=f"python manage.py audit show {outcome.run_id}",
        code="record-not-closed",
    )
