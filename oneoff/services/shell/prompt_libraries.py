"""The prompts of IPython and ptpython, where one is installed.

They can't run inside a loop that is running already, so each gets a thread of its own. What is
typed in it runs in the run's loop all the same, in the context of the run's task.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oneoff.runtime.terminal import Terminal
from oneoff.services.shell.interrupts import Interrupts
from oneoff.utils.concurrency import in_daemon_thread

if TYPE_CHECKING:
    from oneoff.services.shell.session import Conversation

Call = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine in the run's loop, from the prompt's thread, and waits for it."""


async def ipython(conversation: Conversation, banner: str) -> None:
    """Go on until the person leaves."""
    interactive = import_module("IPython.terminal.interactiveshell").TerminalInteractiveShell
    load_config = import_module("IPython.terminal.ipapp").load_default_config

    def prompt(call: Call) -> None:
        # IPython's own key bindings look for the one instance.
        shell = interactive.instance(
            config=load_config(), user_ns=conversation.names, banner1=banner, confirm_exit=False
        )
        shell.loop_runner = call
        # Every cell runs in the run's loop, not only those with an `await` in them.
        shell.should_run_async = lambda *_args, **_options: True
        shell.events.register("pre_run_cell", lambda info: call(conversation.record(info.raw_cell)))
        shell.mainloop()

    await _host(prompt, conversation, Interrupts(interactive.run_code.__code__))


async def ptpython(conversation: Conversation, terminal: Terminal, banner: str) -> None:
    """Go on until the person leaves."""
    repl_module = import_module("ptpython.repl")

    def prompt(call: Call) -> None:
        def configure(repl: Any) -> None:
            def evaluate(source: str) -> Any:
                call(conversation.record(source))
                return call(repl.eval_async(source))

            repl.eval = evaluate
            repl.confirm_exit = False

        repl_module.embed(conversation.names, conversation.names, configure=configure)

    terminal.err(banner)
    await _host(prompt, conversation, Interrupts(repl_module.PythonRepl.eval_async.__code__))


async def _host(
    prompt: Callable[[Call], None], conversation: Conversation, interrupts: Interrupts
) -> None:
    loop = asyncio.get_running_loop()

    async def run(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
        interrupts.aim()
        try:
            return await work, None
        except (SystemExit, KeyboardInterrupt) as exc:
            return None, exc  # raised here they would end the loop
        finally:
            await conversation.settle()

    def call(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            value, leaving = asyncio.run_coroutine_threadsafe(run(work), loop).result()
        except CancelledError:
            raise KeyboardInterrupt from None
        if leaving is not None:
            raise leaving
        return value

    with interrupts, _terminal_restored():
        await in_daemon_thread(lambda: prompt(call))


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """Undo the raw mode of a thread that a signal made us leave behind."""
    import termios

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        yield
    finally:
        with suppress(termios.error):  # exit() closes standard input
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
