"""Use the prompt of IPython or ptpython, if one is installed.

Both libraries start an event loop for their prompt, which is not possible inside a running loop. So
the prompt runs in a second thread. The code that the user types still runs in the run's loop: the
thread sends it there with `run_coroutine_threadsafe` and waits for the result.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.runtime.terminal import Terminal
from oneoff.services.shell.interrupts import Interrupts
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.services.shell.session import ShellSession

Call = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine in the run's loop from the prompt's thread, and returns its result."""


async def ipython(shell_session: ShellSession, terminal: Terminal, banner: str) -> None:
    """Run IPython's prompt until the user exits."""
    interactive = import_module("IPython.terminal.interactiveshell").TerminalInteractiveShell
    load_config = import_module("IPython.terminal.ipapp").load_default_config

    def prompt(call: Call) -> None:
        # Call `instance`, not the class, because IPython's key bindings use the one instance.
        shell = interactive.instance(
            config=load_config(), user_ns=shell_session.names, confirm_exit=False
        )
        _connect(shell, shell_session, call)
        _mask(shell, shell_session)
        try:
            shell.mainloop()
        finally:
            shell.clear_instance()

    terminal.err(banner)
    await _host(prompt, shell_session, Interrupts(interactive.run_code.__code__))


def _connect(shell: Any, shell_session: ShellSession, call: Call) -> None:
    """Let an IPython shell record its cells and run them in the run's loop."""
    run_cell, needs_loop = shell.run_cell, shell.should_run_async

    def record_and_run(raw_cell: str, *args: Any, **options: Any) -> Any:
        if not _in_running_loop():
            try:
                call(shell_session.record(raw_cell))
            except CommandError:
                shell.showtraceback()
                return None
        return run_cell(raw_cell, *args, **options)

    def run_in_loop(cell: Coroutine[Any, Any, Any]) -> Any:
        if not _in_running_loop():
            return call(cell)
        # `%rerun` and macros run a cell inside a cell. Waiting for the loop there would block it.
        cell.close()
        raise RuntimeError("this cell has `await`, so it can't run inside another: paste it")

    def runs_in_loop(raw_cell: str, **options: Any) -> bool:
        # At the prompt, every cell does, also one without `await`.
        return not _in_running_loop() or needs_loop(raw_cell, **options)

    shell.run_cell, shell.loop_runner, shell.should_run_async = (
        record_and_run,
        run_in_loop,
        runs_in_loop,
    )


def _mask(shell: Any, shell_session: ShellSession) -> None:
    """Let an IPython shell mask secrets in its history, and show errors as the other prompts do."""
    store_inputs, show_traceback = shell.history_manager.store_inputs, shell._showtraceback  # noqa: SLF001

    def store(number: int, *sources: str) -> None:
        store_inputs(number, *map(shell_session.mask, sources))

    def show(etype: type, exc: BaseException, _lines: Sequence[str]) -> None:
        cancelled = isinstance(exc, asyncio.CancelledError)  # by Ctrl-C
        shown = "KeyboardInterrupt" if cancelled else shell_session.explain(exc).rstrip("\n")
        show_traceback(etype, exc, [shown])

    shell.history_manager.store_inputs, shell._showtraceback = store, show  # noqa: SLF001


async def ptpython(shell_session: ShellSession, terminal: Terminal, banner: str) -> None:
    """Run ptpython's prompt until the user exits."""
    repl_module = import_module("ptpython.repl")

    def prompt(call: Call) -> None:
        def configure(repl: Any) -> None:
            def evaluate(source: str) -> Any:
                call(shell_session.record(source))
                return call(repl.eval_async(source))

            repl.eval = evaluate
            repl.confirm_exit = False

        repl_module.embed(shell_session.names, shell_session.names, configure=configure)

    terminal.err(banner)
    await _host(prompt, shell_session, Interrupts(repl_module.PythonRepl.eval_async.__code__))


def _in_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _host(
    prompt: Callable[[Call], None], shell_session: ShellSession, interrupts: Interrupts
) -> None:
    loop = asyncio.get_running_loop()

    async def run(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
        interrupts.target_current_task()
        try:
            return await work, None
        except (SystemExit, KeyboardInterrupt) as exc:
            return None, exc  # if a task raised them, they would end the loop
        finally:
            await shell_session.settle()

    def call(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            value, leaving = asyncio.run_coroutine_threadsafe(run(work), loop).result()
        except CancelledError:  # Ctrl-C has cancelled the task that `run` is in
            raise KeyboardInterrupt from None
        if leaving is not None:
            raise leaving
        return value

    with interrupts, _terminal_restored():
        await in_daemon_thread(lambda: prompt(call))


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """Undo raw mode at the end. If a signal ends the run, the prompt's thread can't do that."""
    import termios

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        yield
    finally:
        with suppress(termios.error):  # exit() has closed standard input
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
