"""Execute one run: `Execution.run` does steps 3 to 9 of its life in order.

| Step | Method |
| --- | --- |
| 3 gate | `Recorder.connect`, then `_gate`, which decides with `oneoff.runtime.gate` |
| 4 intent | `Recorder.record_intent` |
| 5 lock | `_lock` |
| 6 open | `_open`, by `Container.get` |
| 7 handle | `_handle` |
| 8 commit or roll back | `_commit_or_roll_back`, by `WorkTransaction` |
| 9 close the row | `Recorder.close` |

Finding and parsing the command (steps 1 and 2) and rendering the result (step 10) are in
`oneoff.cli`, because code may start runs too: `call_command` and workers do.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from oneoff.config import environment
from oneoff.config.project_settings import load_settings
from oneoff.core.errors import CommandError, ExitCode
from oneoff.core.outcome import Call, Ending, Outcome, RowCounts
from oneoff.core.policy import DryRun, Mode
from oneoff.core.result import Result
from oneoff.runtime import error_translation, gate, secrets, signals, unawaited
from oneoff.runtime.application import Application
from oneoff.runtime.audit.recorder import Recorder
from oneoff.runtime.container import Container
from oneoff.runtime.handle import call_handle, checked_result
from oneoff.runtime.input_check import check_inputs, check_task, verify_task
from oneoff.runtime.logs.capture import capturing
from oneoff.runtime.logs.loggers import Logs, level_of
from oneoff.runtime.plugins.run_events import RunEvents
from oneoff.runtime.situation import environment_warnings, situation_of
from oneoff.runtime.terminal import Terminal
from oneoff.utils.concurrency import Late, uninterrupted
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from oneoff.core.run import Run


running: ContextVar[Execution | None] = ContextVar("oneoff_running", default=None)
"""The run whose `handle` runs in this task; a nested `call_command` reads it."""


class Execution:
    """One run of one command.

    Args:
        app: The project.
        call: The command and its options.
        terminal: Asks the operator, and shows logs.
        redactor: Masks secrets.
        process_wide: Whether the process does nothing but this run. If so, other connections are
            read-only in every thread, not only in the run's tasks.
        run: The facts of the run; by default those of a run that starts now.
    """

    def __init__(
        self,
        app: Application,
        call: Call,
        terminal: Terminal,
        redactor: Redactor,
        *,
        process_wide: bool = False,
        run: Run | None = None,
    ) -> None:
        self.app, self.call = app, call
        self.terminal, self.redactor = terminal, redactor
        self.process_wide = process_wide
        level = level_of(app.config, call.options, terminal)
        self.logs = Logs(terminal, redactor, level, form=app.config.log_format)
        self.mode = gate.mode_of(call.command, call.options)
        made = run or app.new_run(call.name, call.options)
        reason, ticket = redactor.text(made.reason), redactor.text(made.ticket)
        self.run_info = replace(made, reason=reason, ticket=ticket)
        self.warnings: list[str] = []
        self.recorder = Recorder(app, call, self.mode, redactor, self.warnings)
        self.events = RunEvents(app.project.name, app.listeners, call, self.mode, redactor)
        self.tables: dict[str, RowCounts] = {}
        self._container: Container | None = None
        self._raised_in_task: BaseException | None = None
        self._is_done = False
        self._closing_error = ""
        self._started = 0.0
        self._deadline: asyncio.Timeout  # set by `run`: it needs the running loop

    @classmethod
    def from_code(cls, app: Application, call: Call, *, run: Run | None = None) -> Execution:
        """Return a run without a prompt, for `call_command` and workers."""
        terminal = Terminal(None, sys.stdout, sys.stderr, os.environ)
        return cls(app, call, terminal, Redactor(app.config.environ), run=run)

    def fail_with(self, exc: BaseException) -> None:
        """Set the error of a run that the caller cancels because a task of the command failed."""
        self._raised_in_task = exc

    async def run(self, *, nested: bool = False) -> Outcome:
        """Run the command and return its outcome. It raises nothing: errors are in the outcome.

        `--timeout` limits steps 3 to 8.

        Args:
            nested: Whether another run waits for this one, though not in its `handle`.
        """
        self._started = monotonic()
        result = cause = None
        self._deadline = asyncio.timeout(self.call.options.timeout)
        if self.process_wide:
            signals.let_choose_exit_code(self._exit_code_if_ended_now)
        try:
            async with self._deadline:
                self.events.step("gate")
                await self.recorder.connect(self.run_info)
                await self._gate()
                self.events.step("intent")
                await self.recorder.record_intent(self.run_info)
                self.events.started(self.run_info)
                result = await self._lock_to_commit()
        except BaseException as exc:  # noqa: BLE001 - however it ends, a run is closed and reported
            cause = self._raised_in_task or exc
        outcome = self._outcome(result, cause)
        self.events.step("close")
        # A cancellation must not interrupt this: the record would stay open.
        closing = self.recorder.close(self.run_info, outcome, note=self._closing_error)
        outcome = await uninterrupted(closing)
        self.logs.report(self.run_info, outcome)
        is_outermost = not nested and running.get() is None
        return await uninterrupted(self.events.ended(self.run_info, outcome, wait=is_outermost))

    async def _gate(self) -> None:
        """Step 3: allow the run, ask the operator, or refuse."""
        command, options = self.call.command, self.call.options
        facts = self.recorder.facts
        protecting = environment.protecting(self.app.configured_environment, facts)
        self.run_info = replace(
            self.run_info,
            environment=environment.effective(self.app.configured_environment, facts),
            # A project may protect an environment that is less strict than the effective one.
            protected=any(
                environment.is_protected(e, self.app.project.protect) for e in protecting
            ),
        )
        stores_it = command.creates_schema and self.mode is Mode.COMMIT
        self.warnings += environment_warnings(
            self.app.config, facts, self.run_info.environment, stores_it=stores_it
        )
        database, asks = self.recorder.database, self.terminal.interactive
        situation = situation_of(self.app, self.call, database, run=self.run_info, interactive=asks)
        if options.approval:
            self.run_info = await self.recorder.admit(self.run_info, situation, self._plan_again)
            situation = situation._replace(approved=True)
        gate.check_agent(command, options, situation)
        is_open = gate.needs_confirmation(command, options, situation)
        await check_inputs(command, self._given(), database if is_open else None)
        self.redactor.keep(situation.target)  # which an operator has to type
        ask = gate.decide(command, options, situation)
        self.run_info = await check_task(self.call, self._given(), self.warnings)
        if ask is not gate.Ask.NOTHING:
            self.terminal.err(self.redactor.text(gate.banner(command, situation)))
            answer = await self.terminal.ask(gate.question(ask, situation))
            gate.check_answer(ask, answer, command, situation)
        await secrets.resolve(
            command,
            self.terminal,
            self.app.config.environ,
            self.redactor,
            interactive=situation.interactive,
            settings=lambda: load_settings(self.app.config),
        )

    async def _plan_again(self) -> Outcome:
        """Make a dry run of the same command line."""
        options = copy(self.call.options)
        options.dry_run, options.approval, options.confirm = True, "", None
        call = self.call._replace(options=options)
        execution = Execution(self.app, call, self.terminal, self.redactor)
        return await execution.run(nested=True)

    async def _lock_to_commit(self) -> Result:
        """Do steps 5 to 8. Everything that they open is closed at the end, in reverse order.

        A transaction that was not committed is rolled back when it is closed.
        """
        async with AsyncExitStack() as stack:
            # Providers must not write either. So the protection starts before the first resource is
            # opened, and ends after the last one is closed.
            stack.enter_context(self._protection())
            container = Container.of_run(stack, self._given())
            self._container = container
            container.give("lock", await self._lock(stack))
            opened = await self._open(container)
            with capturing(self.logs, self.run_info):
                result = await self._handle(container, opened)
                await verify_task(self.call, self._given(), container, result, self.warnings)
            await self._commit_or_roll_back(container, result)
            if self.mode is Mode.COMMIT:
                self._is_done = True
                await uninterrupted(self._close_after_commit(stack.pop_all()))
        return result

    async def _close_after_commit(self, stack: AsyncExitStack) -> None:
        """Close what was opened. The work is committed, so an error here is only a warning.

        The other resources are closed as after success: one may announce what was committed.
        """
        errors: list[BaseException] = []
        if self._container is not None:
            self._container.closing_errors = errors
        try:
            # After a signal the process has GRACE_SECONDS. Half of them are for closing the record.
            async with asyncio.timeout(signals.GRACE_SECONDS / 2):
                await stack.aclose()
        except BaseException as exc:  # noqa: BLE001 - shown as a warning
            errors.append(exc)
        for error in errors:
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            self._closing_error = f"closing a resource failed: {what}"
            self.warnings.append(f"the work is done, but {self._closing_error}")

    def _protection(self) -> AbstractContextManager[None]:
        """Make the application's other connections read-only, unless the run commits."""
        if self.mode is Mode.COMMIT:
            return nullcontext()
        from oneoff.runtime.other_connections import read_only_connections

        engines = self.recorder.database is not None
        return read_only_connections(self.mode, engines=engines, process_wide=self.process_wide)

    async def _lock(self, stack: AsyncExitStack) -> Any:
        """Step 5: wait for the command's lock; only a run that commits needs it."""
        self.events.step("lock")
        name, database = self.call.command.lock, self.recorder.database
        if not name or self.mode is not Mode.COMMIT or database is None:
            return None
        if self.recorder.lock is not None:
            return self.recorder.lock
        from oneoff.database.locks.acquire import acquire, make_lock

        def say_waiting() -> None:
            self.terminal.err(f"waiting for another run that holds the lock {name!r}\n")

        lock = make_lock(database, name)
        # Pushed before the work is opened, so the lock is released after the work has ended.
        stack.push_async_callback(lock.release)
        return await acquire(lock, wait=self.call.options.lock_wait, on_wait=say_waiting)

    async def _open(self, container: Container) -> dict[str, Any]:
        """Step 6: open the resources that `handle` asks for by the names of its parameters."""
        self.events.step("open")
        names = self.call.command.resources()
        opened = {name: await container.get(name) for name in names}
        if (own := self.app.project.resources.get("session")) and "session" in opened:
            from oneoff.database.project_engine import check_session

            check_session(opened["session"], (await container.get("work")).connection, own)
        self.app.freeze_imports()
        return opened

    async def _handle(self, container: Container, opened: dict[str, Any]) -> Result:
        """Step 7: run the command's `handle`."""
        self.events.step("handle")
        handle = self.call.command.handle
        token = running.set(self)
        with unawaited.collecting() as dropped:
            try:
                result = await call_handle(handle, opened, dropped)
            except Late as exc:
                # The run was cancelled, but its work has ended. If that can't be rolled back, it is
                # done: a retry would do it twice.
                has_failed = self._raised_in_task is not None
                if has_failed or self.mode is not Mode.COMMIT or container.opened("work"):
                    raise
                result = exc.result
            finally:
                running.reset(token)
        return checked_result(result, dropped, handle.__qualname__)

    async def _commit_or_roll_back(self, container: Container, result: Result) -> None:
        """Step 8: commit the work, or roll it back and keep the counts of changed rows."""
        self.events.step("commit")
        work, lock = container.opened("work"), container.opened("lock")
        if work is None:
            return  # nothing can be rolled back: the work is done
        if signum := signals.received():
            # The command caught its cancellation and went on. An interrupted run must not commit.
            raise signals.SignalReceived(signum)
        if lock is not None:
            # If the lock was lost, another run may hold it: committing could do the work twice.
            await lock.check()
        if self.mode is Mode.READ_ONLY and (unsaved := work.unsaved_changes()):
            raise unsaved
        if self.mode is Mode.COMMIT:
            # After a cancelled COMMIT, it would be unknown whether the server has committed.
            success = self._outcome(result, None)
            closing, use = self.recorder.closing(work, success), self.recorder.approval
            check = (use.check_rows,) if use else ()  # a project's own `work` may not take it
            self.tables = await uninterrupted(work.commit(closing, *check))
        elif self.mode is Mode.ROLLBACK:
            self.tables = await work.finish_dry_run()
            if work.uncounted:
                self.warnings.append(f"changed rows could not be counted: {work.uncounted}")

    def _outcome(self, result: Result | None, cause: BaseException | None) -> Outcome:
        return Outcome(
            command=self.call.name,
            run_id=self.run_info.id,
            dry_run=self.call.options.dry_run,
            result=None if cause else result,
            error=self._error(cause) if cause else None,
            tables=self.tables if cause is None else {},
            cause=cause,
            duration_ms=round((monotonic() - self._started) * 1000),
            warnings=(*self.warnings, *(result.warnings if result and not cause else ())),
        )

    def _error(self, cause: BaseException) -> CommandError:
        error = error_translation.explain(
            cause,
            self.run_info.id,
            self.call.line,
            undone=self._is_undone(),
            deadline_passed=self._deadline.expired(),
            writes=self.mode is not Mode.READ_ONLY,
            own=self.app.project.errors,
        )
        if self._ending() is not Ending.ROLLED_BACK:
            error.exit_code = ExitCode.FAILED  # a scheduler must not do the work twice
        if self._ending() is Ending.COMMITTED:
            error.why = "what it committed before that is saved"
        return error

    def _ending(self) -> Ending:
        """Return how the transaction of the work ended, as far as it is known."""
        work = self._container.opened("work") if self._container else None
        # A project may provide its own `work`, which does not record how it ended.
        return getattr(work, "ending", Ending.ROLLED_BACK)

    def _exit_code_if_ended_now(self) -> int | None:
        """Return the exit code if the process is ended by force; None if no work can be saved yet.

        A scheduler repeats the command after most other codes.
        """
        if self._is_done:
            return 0
        return None if self._ending() is Ending.ROLLED_BACK else int(ExitCode.FAILED)

    def _is_undone(self) -> bool:
        """Return whether the failed run's work was rolled back."""
        if self.mode is not Mode.COMMIT:
            return True
        if self.call.command.dry_run is DryRun.PLAN:
            return False  # changes to Redis, files or the queue can't be rolled back
        if self._container and self._container.opened("work") is not None:
            return self._ending() is Ending.ROLLED_BACK
        # Without `work`, only batches have committed rows. A command that asks for batches may open
        # `work` instead: `data import` does.
        return "batches" not in self.recorder.asks_for

    def _given(self) -> dict[str, Any]:
        """Return the resources that exist before step 6.

        They include the database if the run connected to it for its record.
        """
        given = {
            "config": self.app.config,
            "project": self.app.project,
            "registry": self.app.registry,
            "run": self.run_info,
            "mode": self.mode,
            "terminal": self.terminal,
            "logs": self.logs,
        }
        database = self.recorder.database
        return given | ({"database": database} if database else {})
