"""The life of one run, steps 3 to 9: the only place that prompts, locks, opens, commits, audits.

Read `Execution.run` from top to bottom; every step is one method, in order. Finding and parsing
(1 and 2) and rendering (10) are in `oneoff.cli`, for a run may also be started from code.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from oneoff.config import environment
from oneoff.config.operator_identity import code_version
from oneoff.config.redis_url import redis_url
from oneoff.core.errors import CommandError, ConfigurationError, Refused, Unavailable
from oneoff.core.outcome import Call, Outcome, RowCounts
from oneoff.core.policy import Access, Confirm, DryRun, Mode
from oneoff.core.result import Result
from oneoff.runtime import error_translation, gate, secrets, signals, unawaited
from oneoff.runtime.application import Application
from oneoff.runtime.container import DATABASE, MIGRATED, Container
from oneoff.runtime.logs.capture import capturing
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal
from oneoff.utils.concurrency import in_daemon_thread, stoppable, uninterrupted
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from oneoff.config.database_url import DatabaseURL
    from oneoff.config.redis_url import RedisURL
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.runtime.audit.record import Audit


running: ContextVar[Execution | None] = ContextVar("oneoff_running", default=None)
"""The run whose `handle` is at work in this task: what a nested `call_command` asks."""


class Execution:
    """One run of one command."""

    def __init__(
        self,
        app: Application,
        call: Call,
        terminal: Terminal,
        redactor: Redactor,
        logs: Logs,
        *,
        process_wide: bool = False,
        run: Run | None = None,
    ) -> None:
        # Whether the process is this run's alone: then what holds for it holds for every thread.
        self.process_wide = process_wide
        self.app, self.call = app, call
        self.terminal, self.redactor, self.logs = terminal, redactor, logs
        self.mode = gate.mode_of(call.command, call.options)
        self.asked = frozenset((*call.command.resources(), *call.command.also_needs()))
        self.run_info = run or app.new_run(call.name, call.options)
        self.facts: environment.Facts | None = None
        self.database: Database | None = None
        self.audit: Audit | None = None
        self.tables: dict[str, RowCounts] = {}
        self.warnings: list[str] = []
        self._left: BaseException | None = None
        self._opened: Container | None = None

    def leave(self, exc: BaseException) -> None:
        """Fail the run, which the caller cancels, for what a task of the command raised."""
        self._left = exc

    @property
    def writes(self) -> bool:
        """Whether this is a writing command, previewed or real."""
        return self.call.command.access is Access.WRITE

    @property
    def must_record(self) -> bool:
        """Whether the run belongs in the runs table although it asks for no database."""
        command = self.call.command
        return self.writes or max(command.confirm, command.confirm_level()) is not Confirm.NEVER

    @property
    def needs_database(self) -> bool:
        """Whether the command itself asks for the database, directly or for its session."""
        return bool(self.asked & DATABASE)

    async def run(self) -> Outcome:
        """Run the command and return how it ended; nothing is raised."""
        started = monotonic()
        result = cause = None
        closing = AsyncExitStack()
        try:
            async with asyncio.timeout(self.call.options.timeout):
                await self._connect(closing)
                await self._gate()
                await self._record_intent()
                result = await self._work()
        except BaseException as exc:  # noqa: BLE001 - every end of a run is closed and reported
            cause = self._left or exc
        outcome = self._outcome(result, cause, started)
        outcome = await uninterrupted(self._close(outcome, closing))
        self.logs.report(self.run_info, outcome)
        return outcome

    async def _connect(self, closing: AsyncExitStack) -> None:
        """Connect for the run's record, and read what the database says of itself."""
        if not (self.must_record or self.needs_database):
            return
        from oneoff.database.engine import Database
        from oneoff.database.schema.facts import check_same_database
        from oneoff.runtime.audit.record import Audit

        url = self._url()
        if url is None:
            self._go_on_unrecorded("the database does not exist yet")
            return
        self.database = Database(url, run_id=self.run_info.id)
        closing.push_async_callback(self.database.dispose)
        try:
            await self.database.wait_until_up(self.call.command.database_wait())
            self.audit = await closing.enter_async_context(Audit.open(self.database, self.redactor))
            self.facts = await self.audit.read_facts()
            await check_same_database(self.facts, url, self.app.database_url())
        except Unavailable as exc:
            if self.needs_database:
                raise
            self._go_on_unrecorded(exc.message)

    def _url(self) -> DatabaseURL | None:
        """Return what to connect to; connecting must not make a SQLite file just to look at it."""
        url = self.app.database_url(for_migrations="migrations" in self.asked)
        makes_it = self._may_create_schema() or not self.asked & MIGRATED
        if url.exists() or (self.needs_database and self.mode is Mode.COMMIT and makes_it):
            return url
        if self.asked & MIGRATED:
            raise self._not_migrated()
        return url.empty() if self.needs_database else None

    async def _gate(self) -> None:
        """Step 3: let the run pass, ask a person, or refuse."""
        command, options = self.call.command, self.call.options
        name = environment.effective(self.app.environment, self.facts)
        self.run_info = replace(self.run_info, environment=name)
        if self.facts and self.facts.is_copy:
            self.warnings.append(
                f"this database is a copy of one in {self.facts.stored_environment}; "
                "`python manage.py migrate` stores what it is now"
            )
        situation = self._situation()
        ask = gate.decide(command, options, situation)
        if ask is not gate.Ask.NOTHING:
            self.terminal.err(self.redactor.text(self._banner(situation)))
            answer = await self.terminal.ask(gate.question(ask, situation))
            gate.check_answer(ask, answer, command, situation)
        await secrets.resolve(
            command,
            self.terminal,
            self.app.config.environ,
            self.redactor,
            interactive=situation.interactive,
        )

    async def _record_intent(self) -> None:
        """Step 4: commit the run's row before any work is done."""
        if self.audit is None or self.facts is None or self.database is None:
            return
        if not self.facts.schema_ready and self._may_create_schema():
            from oneoff.database.schema.upgrade import ensure_schema

            await ensure_schema(self.database)
            self.facts = await self.audit.read_facts()
        if self.facts.schema_ready:
            await self._begin_record_or_go_on()
        elif self.writes and self.asked & MIGRATED and self.mode is not Mode.READ_ONLY:
            raise self._not_migrated()
        elif self.must_record:
            self._go_on_unrecorded("the database has not been migrated")

    async def _work(self) -> Result:
        """Do steps 5 to 8: lock, open, handle, commit or roll back."""
        async with AsyncExitStack() as stack:
            self._opened = container = Container(stack, self.app.project.resources, self._given())
            container.give("lock", await self._lock(stack))
            asked = self.call.command.resources()
            opened = {name: await container.get(name) for name in asked}
            self.app.settle_imports()
            with self._protection():
                with capturing(self.logs, self.run_info):
                    result = await self._handle(opened)
                await self._finish(container)
        return result

    def _protection(self) -> AbstractContextManager[None]:
        """Let other connections of the application only read, unless the run is for real."""
        if self.mode is Mode.COMMIT:
            return nullcontext()
        from oneoff.runtime.read_only import read_only_connections

        engines = self.database is not None
        return read_only_connections(self.mode, engines=engines, process_wide=self.process_wide)

    async def _lock(self, stack: AsyncExitStack) -> Any:
        """Step 5: wait for the command's lock; a preview and a plain look need none."""
        name = self.call.command.lock
        if not name or self.mode is not Mode.COMMIT or self.database is None:
            return None
        from oneoff.database.locks.acquire import acquire, make_lock

        lock = make_lock(self.database, name)
        stack.push_async_callback(lock.release)
        return await acquire(
            lock, wait=self.call.options.lock_wait, on_wait=lambda: self._say_waiting(name)
        )

    async def _handle(self, opened: dict[str, Any]) -> Result:
        """Step 7: the author's code."""
        handle = self.call.command.handle
        token = running.set(self)
        with unawaited.collecting() as dropped:
            if asyncio.iscoroutinefunction(handle):
                result = await stoppable(handle(**opened))
            else:
                result = await in_daemon_thread(lambda: handle(**opened))
            if asyncio.iscoroutine(result):
                result.close()
                dropped.append(handle.__qualname__)
        running.reset(token)
        if dropped:
            raise CommandError(
                f"nobody awaited {', '.join(dropped)}",
                why="a coroutine that is not awaited does nothing; the run was rolled back",
                try_="write `await` before the call",
                code="not-awaited",
            )
        if not isinstance(result, Result):
            raise CommandError(
                f"{handle.__qualname__} returned {type(result).__name__}, not a Result",
                try_='return Result.changed("...", rows=1) or Result.unchanged("...")',
                code="no-result",
            )
        return result

    async def _finish(self, container: Container) -> None:
        """Step 8: commit the work, or roll it back and keep what it would have changed."""
        work, lock = container.opened("work"), container.opened("lock")
        if signum := signals.received():
            raise signals.SignalReceived(signum)  # the command went on as if nothing had come
        if lock is not None:
            await lock.check()
        if work is None:
            return
        if self.mode is Mode.READ_ONLY and (unwritten := work.unwritten()):
            raise unwritten
        if self.mode is Mode.COMMIT:
            self.tables = await uninterrupted(work.commit())
        elif self.mode is Mode.ROLLBACK:
            self.tables = await work.finish_dry_run()
            if work.uncounted:
                self.warnings.append(f"rows could not be counted: {work.uncounted}")

    async def _close(self, outcome: Outcome, closing: AsyncExitStack) -> Outcome:
        """Step 9: whatever happened, the run's row says so."""
        async with closing:
            if self.audit is None or not self.audit.can_record:
                return outcome
            try:
                if not self.audit.begun and isinstance(outcome.error, Refused):
                    await self._begin_record()
                if self.audit.begun:
                    await self.audit.end(outcome)
            except CommandError as exc:
                return replace(outcome, error=outcome.error or _unclosed(outcome, exc))
        return outcome

    def _outcome(
        self, result: Result | None, cause: BaseException | None, started: float
    ) -> Outcome:
        if result and self.warnings:
            result = replace(result, warnings=(*self.warnings, *result.warnings))
        return Outcome(
            command=self.call.name,
            run_id=self.run_info.id,
            dry_run=self.call.options.dry_run,
            result=None if cause else result,
            error=self._error(cause) if cause else None,
            tables=self.tables if cause is None else {},
            cause=cause,
            duration_ms=round((monotonic() - started) * 1000),
        )

    def _error(self, cause: BaseException) -> CommandError:
        # Whoever asks for batches may open one transaction instead: `data import`.
        in_one = self._opened is not None and self._opened.opened("work") is not None
        in_batches = "batches" in self.asked and not in_one
        stays = self.call.command.dry_run is DryRun.PLAN or in_batches
        undone = self.mode is not Mode.COMMIT or not stays
        return error_translation.explain(cause, self.run_info.id, self.call.line, undone=undone)

    async def _begin_record_or_go_on(self) -> None:
        """Refuse to write to the database unrecorded; the rest goes on, on a standby server too."""
        try:
            await self._begin_record()
        except CommandError as exc:
            if self.writes and self.needs_database:
                raise
            self._go_on_unrecorded(exc.message)

    async def _begin_record(self) -> None:
        if self.audit is not None:
            version = code_version(self.app.config.environ, self.app.config.root)
            await self.audit.begin(self.run_info, self.call, code_version=version)

    def _not_migrated(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.call.name} needs a database that has been migrated",
            why=f"in {self.app.database_url().safe()} the tables that record runs are missing, or "
            "older than this code",
            try_="python manage.py migrate",
            code="not-migrated",
        )

    def _may_create_schema(self) -> bool:
        return self.call.command.creates_schema and self.mode is Mode.COMMIT

    def _go_on_unrecorded(self, reason: str) -> None:
        """Warn, and leave the record to the log stream; or refuse, where that is not enough."""
        if self.call.options.dry_run or self.call.command.only_looks():
            return
        if self.app.config.audit_required:
            raise Refused(
                f"{self.call.name} can't be recorded: {reason}",
                why="AUDIT_REQUIRED is on",
                try_="python manage.py migrate",
                code="audit-required",
            )
        self.warnings.append(f"this run is recorded in the log only: {reason}")

    def _say_waiting(self, name: str) -> None:
        self.terminal.err(f"waiting for another run that holds the lock {name!r}\n")

    def _situation(self) -> gate.Situation:
        name = self.run_info.environment
        return gate.Situation(
            name=self.call.name,
            line=self.call.line,
            environment=name,
            target=f"{self._place()}@{name}",
            protected=environment.is_protected(name, self.app.project.protect),
            interactive=self.terminal.interactive and not self.call.options.no_input,
            environment_from=environment.why(self.app.environment, name),
        )

    def _place(self) -> str:
        """Return what the confirmation names: where the command would do its work."""
        if self.call.command.aims_at == "redis":
            return redis_url(self.app.config).name
        if self.facts:
            return self.facts.database
        try:
            return self.app.database_url().name
        except ConfigurationError:
            return "database"  # a command that needs none can still say what is wrong with the URL

    def _banner(self, situation: gate.Situation) -> str:
        url: RedisURL | DatabaseURL
        if self.call.command.aims_at == "redis":
            url = redis_url(self.app.config)
        else:
            url = self.database.url if self.database else self.app.database_url()
        return gate.banner(self.call.command, situation, url.safe())

    def _given(self) -> dict[str, Any]:
        given = {
            "config": self.app.config,
            "project": self.app.project,
            "registry": self.app.registry,
            "run": self.run_info,
            "mode": self.mode,
            "terminal": self.terminal,
            "logs": self.logs,
        }
        return given | ({"database": self.database} if self.database else {})


def _unclosed(outcome: Outcome, exc: CommandError) -> CommandError:
    return CommandError(
        f"{outcome.command} did its work, but its record could not be closed: {exc.message}",
        why="the run stays open in the audit list and will be marked abandoned",
        try_=f"python manage.py audit show {outcome.run_id}",
        code="record-not-closed",
    )
