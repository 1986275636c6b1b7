"""Provide the resource `console`: run a script, or open a prompt, on the run's database."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from oneoff.core.errors import UsageError
from oneoff.core.policy import Mode
from oneoff.services.shell.evaluation import evaluate, run_script
from oneoff.services.shell.input_record import InputRecord
from oneoff.services.shell.namespace import LazyCache, ready_names
from oneoff.services.shell.session import ShellSession, open_database_session
from oneoff.utils.redaction import Redactor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from structlog.typing import FilteringBoundLogger

    from oneoff.config.settings import Config
    from oneoff.core.run import Run
    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.runtime.terminal import Terminal


class Console(NamedTuple):
    """Runs a script or an interactive prompt on the run's database."""

    config: Config
    run_info: Run
    terminal: Terminal
    log: FilteringBoundLogger
    mode: Mode
    inputs: InputRecord
    cache: LazyCache

    @property
    def interactive(self) -> bool:
        """Whether a person is at the terminal."""
        return self.terminal.interactive

    async def read_script(self) -> str:
        """Return the script from standard input.

        Raises:
            UsageError: Standard input is a terminal, but the run is not interactive.
        """
        if _is_terminal(sys.stdin):
            raise UsageError(
                "no script was given: standard input is a terminal, but the run is not interactive",
                try_='python manage.py shell -c "print(1)"',
            )
        return await self.terminal.read_all()

    async def run(self, source: str, filename: str, session: AsyncSession) -> None:
        """Run a script in the run's transaction; see `run_script`."""
        # Record the script first: if that raises, the script must not run.
        await self.inputs.add(source)
        self.log.info("shell.input_given", file=filename, source=source)
        names = self._names(session)
        await self.cache.open_if_named(source, names, at_prompt=False)
        names |= {"__name__": "__main__", "__file__": filename}
        await run_script(
            source,
            filename,
            names,
            root=self.config.root,
            terminal=self.terminal,
            redactor=Redactor(self.config.environ),
        )

    async def interact(
        self, work: WorkTransaction, database: Database, *, plain: bool = False
    ) -> list[str]:
        """Run a prompt until the user exits; return warnings for the end of the run."""
        async with open_database_session(work, database, self.mode) as session:
            shell_session = ShellSession(
                self._names(session),
                self.mode,
                self.log,
                inputs=self.inputs,
                cache=self.cache,
                redactor=Redactor(self.config.environ),
                root=self.config.root,
            )
            banner = shell_session.banner(f"{database.url.name}@{self.run_info.environment}")
            await self._prompt(shell_session, banner, plain=plain)
            left_open = shell_session.left_open()
        return ["uncommitted changes were rolled back"] if left_open else []

    def _names(self, session: AsyncSession) -> dict[str, Any]:
        cache = self.cache.placeholder()
        return ready_names(self.config, self.run_info, session, cache)

    async def _prompt(self, shell_session: ShellSession, banner: str, *, plain: bool) -> None:
        at_terminal = _is_terminal(sys.stdin)
        if not plain and at_terminal and find_spec("IPython"):
            from oneoff.services.shell.prompt_libraries import ipython

            await ipython(shell_session, self.terminal, banner)
        elif not plain and at_terminal and find_spec("ptpython"):
            from oneoff.services.shell.prompt_libraries import ptpython

            await ptpython(shell_session, self.terminal, banner)
        else:
            await self._plain(shell_session, banner, at_terminal=at_terminal)

    async def _plain(self, shell_session: ShellSession, banner: str, *, at_terminal: bool) -> None:
        from oneoff.services.shell.interrupts import Interrupts
        from oneoff.services.shell.line_reader import LineReader, history_file, line_editing
        from oneoff.services.shell.plain_prompt import PlainPrompt, Read

        with ExitStack() as stack:
            # A frame of `evaluate` on the stack means that a statement is running.
            interrupts = stack.enter_context(Interrupts(evaluate.__code__))
            read: Read = self.terminal.ask
            if at_terminal:
                read = LineReader(self.terminal, interrupts).read
                history = history_file(self.config.project.name, self.config.environ)
                redactor = Redactor(self.config.environ)
                stack.enter_context(line_editing(shell_session.names, history, redactor))
            self.terminal.err(banner)
            await PlainPrompt(shell_session, self.terminal, read, interrupts).interact()


@asynccontextmanager
async def open_console(
    *,
    config: Config,
    run: Run,
    terminal: Terminal,
    log: FilteringBoundLogger,
    mode: Mode,
    database: Database,
) -> AsyncIterator[Console]:
    """Open the resource `console`. Closing it stores the remaining inputs and closes Redis."""
    inputs = InputRecord(database, run.id, Redactor(config.environ))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(inputs.flush)
        cache = LazyCache(config, mode, run, stack)
        yield Console(config, run, terminal, log, mode, inputs, cache)


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
