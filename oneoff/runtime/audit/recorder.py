"""Decide whether and where a run is recorded, and close its record.

A run that writes, or that needs a confirmation, belongs in the runs table. If that table can't be
written, a command that writes to the database is refused. Any other command is recorded
in the log only, with a warning. Dry runs and runs that only read get no warning. The module
`record` writes the row; it is imported only if there is a database.

The executor calls `connect` (step 3 of a run), `record_intent` (step 4) and `close` (step 9). It
also passes the database that is connected here to the command.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from oneoff.config.operator_identity import code_version
from oneoff.core.errors import CommandError, ConfigurationError, Refused, Unavailable
from oneoff.core.outcome import Closing, Ending
from oneoff.core.policy import Access, Confirm, Mode
from oneoff.runtime.container import NEED_DATABASE, NEED_TABLES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.environment import Facts
    from oneoff.core.outcome import Call, Outcome
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.database.locks.base import HeldLock
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.application import Application
    from oneoff.runtime.approvals.use import Use
    from oneoff.runtime.audit.record import RunRecord
    from oneoff.runtime.situation import Situation
    from oneoff.utils.redaction import Redactor


class Recorder:
    """Keeps the record of one run.

    Args:
        app: The project.
        call: The command and its options.
        mode: How the run may change data.
        redactor: Masks secrets in the row.
        warnings: The run's warnings; those about the record are appended.

    Attributes:
        asks_for: Names of the resources that the command may open.
        database: The database for the record and for the command; None if the run needs none.
        approval: The approval that the run uses; None if it needs none.
    """

    def __init__(
        self, app: Application, call: Call, mode: Mode, redactor: Redactor, warnings: list[str]
    ) -> None:
        self._app, self._call, self._mode = app, call, mode
        self._redactor = redactor
        self._warnings = warnings
        command = call.command
        names = (*command.resources(), *command.check_resources(), *command.also_needs())
        self.asks_for = frozenset(names)
        self._writes = call.command.access is Access.WRITE
        self._record: RunRecord | None = None
        self._stack = AsyncExitStack()
        self._closing_work: WorkTransaction | None = None
        self.database: Database | None = None
        self.approval: Use | None = None

    @property
    def facts(self) -> Facts | None:
        """The database's facts about itself; None until `connect` has read them."""
        return self.database.facts if self.database else None

    @property
    def lock(self) -> HeldLock | None:
        """The command's lock, if it was free when the row was inserted."""
        return self._record.lock if self._record else None

    @property
    def needs_database(self) -> bool:
        """Whether the command itself asks for the database, directly or for its session."""
        return bool(self.asks_for & NEED_DATABASE)

    @property
    def must_record(self) -> bool:
        """Whether the run belongs in the runs table, even if the command asks for no database."""
        command = self._call.command
        return self._writes or max(command.confirm, command.confirm_level()) is not Confirm.NEVER

    async def connect(self, run: Run) -> None:
        """Connect, and read the database's facts about itself; do nothing if none is needed.

        Raises:
            Unavailable: The database can't be reached, and the command needs it.
            ConfigurationError: The URL is wrong, or the database has not been migrated.
            Refused: The run can't be recorded, and the setting AUDIT_REQUIRED is on.
        """
        if not (self.must_record or self.needs_database):
            return
        from oneoff.database.engine import Database
        from oneoff.database.limits import limits_of
        from oneoff.database.schema.facts import check_same_database
        from oneoff.runtime.audit.record import RunRecord

        url = self._url()
        if url is None:
            self._use_only_the_log("the database does not exist yet")
            return
        limits = limits_of(self._call.command, self._call.options, url.dialect)
        self.database = Database(url, run_id=run.id, limits=limits, project=self._app.project)
        self._stack.push_async_callback(self.database.dispose)
        try:
            await self.database.wait_until_up(self._call.command.database_wait())
            lend_to = self._mode if self._lends() else None
            opened = RunRecord.open(self.database, self._redactor, lend_to=lend_to)
            self._record = await self._stack.enter_async_context(opened)
            facts = self.database.facts = await self._record.read_facts()
            await check_same_database(facts, url, self._app.database_url())
        except Unavailable as exc:
            if self.needs_database:
                raise
            self._use_only_the_log(exc.message)

    async def admit(
        self, run: Run, situation: Situation, plan_again: Callable[[], Awaitable[Outcome]]
    ) -> Run:
        """Check the approval that the run names; it is used when the run's row is inserted.

        Args:
            run: The facts of the run.
            situation: Where the command is about to run.
            plan_again: Makes a dry run of the same command line.

        Returns:
            The facts of the run, with reason and ticket of the request, if it has none.

        Raises:
            CommandError: The approval does not allow this run.
        """
        from oneoff.runtime.approvals.code import running_code
        from oneoff.runtime.approvals.use import admit

        use = self.approval = await admit(
            self.database,
            self._call,
            situation,
            code_version=running_code(self._app.config.environ, self._app.config.root),
            redactor=self._redactor,
            plan_again=plan_again,
        )
        reason, ticket = use.approval["reason"], use.approval["ticket"]
        return replace(run, reason=run.reason or reason, ticket=run.ticket or ticket)

    async def record_intent(self, run: Run) -> None:
        """Commit the run's row before any work is done; `migrate` creates its table first.

        Raises:
            CommandError: The row can't be written, and the run must not continue without it.
        """
        if self._record is None or self.database is None or self.facts is None:
            return
        if not self.facts.schema_ready and self._may_create_schema():
            from oneoff.database.schema.upgrade import ensure_schema

            await ensure_schema(self.database, wait=self._call.options.lock_wait)
            # Read by the record, so that it knows that its table exists now.
            self.database.facts = await self._record.read_facts()
        if self.facts.schema_ready:
            await self._insert_or_use_the_log(run)
        elif self._writes and self.asks_for & NEED_TABLES and self._mode is not Mode.READ_ONLY:
            raise self._not_migrated()
        elif self.must_record:
            self._use_only_the_log("the database has not been migrated")

    def closing(self, work: WorkTransaction, outcome: Outcome) -> Closing | None:
        """Return how the transaction of the work closes the row; None if it can't.

        Args:
            work: The transaction.
            outcome: How the run ends if the transaction is committed.
        """
        record, database = self._record, self.database
        if record is None or database is None or not record.may_exist:
            return None
        if work.connection.sync_engine is not database.engine.sync_engine:
            return None  # the project has replaced the resource `database`: the row is elsewhere
        self._closing_work = work

        async def settle() -> Ending:
            ending = await record.read_ending()
            if ending is Ending.COMMITTED:
                self._warnings.append(
                    "the connection to the database was lost during the commit; the record of the "
                    "run shows that the work was committed"
                )
            return ending

        data = self._data_of(outcome)
        return Closing(partial(record.close_within, outcome=outcome, data=data), settle)

    async def close(self, run: Run, outcome: Outcome, *, note: str = "") -> Outcome:
        """Store how the run ended, and disconnect. The row of a refused run is inserted only here.

        Args:
            run: The facts of the run.
            outcome: How it ended.
            note: What happened after the commit, for the record.

        Returns:
            The outcome, with the rows that batches saved before an error, and with a warning if the
            record could not be closed.
        """
        # Leaving the block closes the connection. This also releases the lock that shows that the
        # run is alive.
        async with self._stack:
            if self._record is None or not self._record.can_record:
                return outcome
            if self._is_closed(note):
                return self._with_head(outcome)
            try:
                if not self._record.may_exist and isinstance(outcome.error, Refused):
                    await self._insert(run)
                if self._record.may_exist:
                    rows = await self._record.close_row(outcome, self._data_of(outcome), note)
                    outcome = replace(outcome, recorded_rows=rows)
            except CommandError as exc:
                return _without_record(outcome, exc)
        return self._with_head(outcome)

    def _data_of(self, outcome: Outcome) -> dict[str, Any]:
        from oneoff.runtime.audit.kept_data import data_to_keep

        return data_to_keep(self._call, outcome, self._app.project, self._redactor)

    def _with_head(self, outcome: Outcome) -> Outcome:
        """Add the newest event of the run in the chain, unless it may have been rolled back."""
        event = self._record.event if self._record else None
        if event is None or (self._closing_work and self._closing_work.ending is Ending.UNKNOWN):
            return outcome
        return replace(outcome, head=str(event.head))

    def _is_closed(self, note: str) -> bool:
        """Return whether the transaction of the work has or may have closed the row.

        If it is not known how that transaction ended, it may still be open in the server. Then
        only its end decides how the row is closed.
        """
        ending = self._closing_work.ending if self._closing_work else Ending.ROLLED_BACK
        return ending is Ending.UNKNOWN or (ending is Ending.COMMITTED and not note)

    def _url(self) -> DatabaseURL | None:
        """Return the URL to connect to; None if there is no file and the command needs no database.

        On PostgreSQL it is always the URL of the database itself. Connecting to a SQLite file that
        does not exist would create it. So only a run that may create the file gets its URL, and a
        read-only run gets an empty database in memory.

        Raises:
            ConfigurationError: There is no file, and the command needs the framework's tables.
        """
        url = self._app.database_url(for_migrations="migrations" in self.asks_for)
        creates_it = self._may_create_schema() or not self.asks_for & NEED_TABLES
        if url.exists() or (self.needs_database and self._mode is Mode.COMMIT and creates_it):
            return url
        if self.asks_for & NEED_TABLES:
            raise self._not_migrated()
        return url.empty() if self.needs_database else None

    def _lends(self) -> bool:
        """Return whether the work goes on with the connection that has written the row.

        Until the work begins, nothing shows that the run is alive. So it must not wait before for a
        lock, or for a provider of the project or of a plug-in. And only the executor may end its
        transaction.
        """
        command, own = self._call.command, self._app.resources
        names = set(command.resources())
        return (
            not names.isdisjoint(("session", "work"))
            and names.isdisjoint(("open", "console", "batches", "migrations", *own))
            and own.keys().isdisjoint(("session", "work", "database"))
            and not (command.lock and self._mode is Mode.COMMIT)
        )

    def _may_create_schema(self) -> bool:
        return self._call.command.creates_schema and self._mode is Mode.COMMIT

    async def _insert_or_use_the_log(self, run: Run) -> None:
        """Insert the row. If that fails, refuse a run that writes to the database.

        Other runs continue with a warning, for example on a standby server.
        """
        try:
            await self._insert(run, self.approval)
        except CommandError as exc:
            if self.approval is not None:
                raise
            reads = self._mode is not Mode.COMMIT or self._call.command.works_unrecorded()
            if self.needs_database and not reads:
                raise
            self._use_only_the_log(exc.message, failed=True)

    async def _insert(self, run: Run, approval: Use | None = None) -> None:
        if self._record is not None:
            version = code_version(self._app.config.environ, self._app.config.root)
            await self._record.insert_row(run, self._call, code_version=version, approval=approval)

    def _use_only_the_log(self, reason: str, *, failed: bool = False) -> None:
        """Warn that only the log records the run; refuse the run if AUDIT_REQUIRED is on.

        A run that changes nothing continues, and without a warning if there is no table for its
        record. `failed` means that there is one, which the run can't write.
        """
        changes_nothing = self._call.options.dry_run or self._call.command.only_reads()
        if changes_nothing and not failed:
            return
        if self._app.config.audit_required and not changes_nothing:
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
            why=f"the oneoff tables in {self._app.database_url().safe()} are missing, or older "
            "than this code",
            try_="python manage.py migrate",
            code="not-migrated",
        )


def _without_record(outcome: Outcome, exc: CommandError) -> Outcome:
    """Add the warning that the record does not show how the run ended."""
    if isinstance(outcome.error, Refused):
        warning = f"this run is recorded in the log only: {exc.message}"
    else:
        warning = (
            f"the work {'failed' if outcome.error else 'is done'}, but its record could not be "
            f"closed: {exc.message}; `audit list` shows the run as started until a later run marks "
            "it as abandoned"
        )
    return replace(outcome, warnings=(*outcome.warnings, warning))
