"""Read lines from a person, with editing, history and completion."""

from __future__ import annotations

import asyncio
import sys
from code import InteractiveConsole
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.services.shell.interrupts import Interrupts, Stopped

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

_KEPT = 1_000


class LineReader:
    """Reads from the process's terminal.

    It blocks the event loop, on purpose: in another thread Ctrl-C could not cancel the line,
    because only the main thread handles signals. Background tasks go on while statements run.
    """

    def __init__(self, terminal: Terminal, interrupts: Interrupts) -> None:
        self._terminal = terminal
        self._interrupts = interrupts
        self._console = InteractiveConsole()

    async def read(self, prompt: str) -> str | None:
        """Return a line; None at end of input.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        await asyncio.sleep(0)
        try:
            with self._interrupts.at_prompt():
                return self._input(prompt)
        except EOFError:
            self._terminal.err("\n")
        except Stopped as exc:
            self._terminal.err("\n")
            self._interrupts.stop(exc.signum)
            await asyncio.sleep(1)  # which cancels this task
        return None

    def _input(self, prompt: str) -> str:
        if not sys.stdout.isatty():
            # Python would put the prompt into the data.
            self._terminal.err(prompt)
            prompt = ""
        return self._console.raw_input(prompt)


@contextmanager
def line_editing(names: dict[str, Any], history: Path, redactor: Redactor) -> Iterator[None]:
    """Complete names with Tab, and keep what was typed, secrets masked, for the next session."""
    try:
        import readline
        from rlcompleter import Completer
    except ImportError:  # not on every build of Python
        yield
        return
    completer = readline.get_completer()
    readline.set_completer(Completer(names).complete)
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
        for line in lines[-_KEPT:]:
            readline.add_history(redactor.text(line))
        with suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            history.touch(mode=0o600)
            readline.write_history_file(history)


def history_file(project: str, environ: Mapping[str, str]) -> Path:
    """Return where the lines typed in a project's shell are kept: among the user's own files."""
    state = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '')}/.local/state"
    return Path(state) / "oneoff" / f"{project}.history"
