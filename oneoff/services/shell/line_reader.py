"""Read lines from the terminal, with editing, history and completion."""

from __future__ import annotations

import asyncio
import sys
from code import InteractiveConsole
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.services.shell.interrupts import Interrupts, PromptStopped

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

_HISTORY_LENGTH = 1_000  # lines


class LineReader:
    """Reads lines from the process's terminal.

    Reading blocks the event loop on purpose. Only the main thread handles signals, so Ctrl-C could
    not cancel a line that is read in another thread. Background tasks continue while a statement
    runs.
    """

    def __init__(self, terminal: Terminal, interrupts: Interrupts) -> None:
        self._terminal = terminal
        self._interrupts = interrupts
        self._console = InteractiveConsole()

    async def read(self, prompt: str) -> str | None:
        """Return a line, or None at the end of input.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        await asyncio.sleep(0)  # let a cancellation or a background task run before blocking
        try:
            with self._interrupts.at_prompt():
                return self._input(prompt)
        except EOFError:
            self._terminal.err("\n")
        except PromptStopped as exc:
            self._terminal.err("\n")
            self._interrupts.stop(exc.signum)
            await asyncio.sleep(1)  # the handler that `stop` called cancels this task here
        return None

    def _input(self, prompt: str) -> str:
        if not sys.stdout.isatty():
            # Python would write the prompt to standard output, among the data.
            self._terminal.err(prompt)
            prompt = ""
        return self._console.raw_input(prompt)


@contextmanager
def line_editing(names: dict[str, Any], history: Path, redactor: Redactor) -> Iterator[None]:
    """Complete names with Tab. At the end, save the history with secrets masked."""
    try:
        import readline
        from rlcompleter import Completer
    except ImportError:  # some builds of Python have no readline
        yield
        return
    completer = readline.get_completer()
    readline.set_completer(Completer(names).complete)
    # GNU readline and libedit have different commands for the Tab key.
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    with suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_completer(completer)
        lines = [
            readline.get_history_item(at + 1) for at in range(readline.get_current_history_length())
        ]
        readline.clear_history()
        for line in lines[-_HISTORY_LENGTH:]:
            readline.add_history(redactor.text(line))
        with suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            history.touch(mode=0o600)
            readline.write_history_file(history)


def history_file(project: str, environ: Mapping[str, str]) -> Path:
    """Return the history file of a project's shell, in the user's state folder (XDG)."""
    state = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '')}/.local/state"
    return Path(state) / "oneoff" / f"{project}.history"
