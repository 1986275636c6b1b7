"""A prompt that needs only the standard library: read, run and print in one task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from types import CodeType
from typing import TYPE_CHECKING, Any

from oneoff.runtime import unawaited
from oneoff.services.shell.evaluation import Statements, evaluate

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.services.shell.interrupts import Interrupts
    from oneoff.services.shell.session import ShellSession

Read = Callable[[str], Awaitable[str | None]]
"""Shows a prompt and returns a line, or None at the end of input."""

PROMPT, MORE = ">>> ", "... "


class PlainPrompt:
    """Reads statements, runs them, and prints their values.

    Args:
        shell_session: Records each input, and ends its transaction.
        terminal: Prints values and errors.
        read: Returns the lines.
        interrupts: Distinguishes a cancellation by Ctrl-C from the end of the run.
    """

    def __init__(
        self, shell_session: ShellSession, terminal: Terminal, read: Read, interrupts: Interrupts
    ) -> None:
        self._shell_session, self._terminal = shell_session, terminal
        self._read, self._interrupts = read, interrupts

    async def interact(self) -> None:
        """Run the prompt until the user exits with Ctrl-D or exit()."""
        with self._showing_values(), unawaited.collecting():
            async for source, code in self._statements():
                try:
                    await self._run(source, code)
                except SystemExit:
                    break
            # Free the coroutines that the namespace still holds, while `collecting` is active:
            # its list is not used. After it, an unawaited coroutine would fail the run.
            self._shell_session.names.clear()

    async def _statements(self) -> AsyncIterator[tuple[str, CodeType]]:
        statements = Statements()
        lines: list[str] = []
        while True:
            try:
                line = await self._read(MORE if lines else PROMPT)
            except KeyboardInterrupt:
                self._show_interrupt()
                lines.clear()
                continue
            except asyncio.CancelledError:
                # Ctrl-C was pressed just after a statement ended. Else the run itself is cancelled.
                if not self._interrupts.take_interrupt():
                    raise
                continue
            if line is None:
                return
            lines.append(line)
            code = self._compile(statements, lines)
            if code is not None:
                yield "\n".join(lines), code
                lines.clear()

    def _compile(self, statements: Statements, lines: list[str]) -> CodeType | None:
        try:
            return statements.compile("\n".join(lines))
        except (SyntaxError, ValueError, OverflowError) as exc:
            self._terminal.err(self._shell_session.explain(exc))
            lines.clear()
            return None

    async def _run(self, source: str, code: CodeType) -> None:
        with unawaited.collecting() as dropped:
            try:
                await self._shell_session.record(source)
                try:
                    await evaluate(code, self._shell_session.names)
                finally:
                    await self._shell_session.settle()
            except KeyboardInterrupt:
                self._show_interrupt()
            except asyncio.CancelledError:
                if not self._interrupts.take_interrupt():
                    raise
                self._show_interrupt()
            except Exception as exc:  # noqa: BLE001 - printed; the prompt continues
                self._terminal.err(self._shell_session.explain(exc))
        for name in dropped:
            self._terminal.err(f"{name} was not awaited: write `await` before the call\n")

    def _show_interrupt(self) -> None:
        self._terminal.err("\nKeyboardInterrupt\n")

    @contextmanager
    def _showing_values(self) -> Iterator[None]:
        """Print the value of each expression, as Python's own prompt does."""
        before, sys.displayhook = sys.displayhook, self._show
        try:
            yield
        finally:
            sys.displayhook = before

    def _show(self, value: Any) -> None:
        if value is None:
            return
        if iscoroutine(value):
            value.close()
            self._terminal.err(f"{value.__qualname__} is a coroutine: write `await` before it\n")
            return
        self._shell_session.names["_"] = value
        self._terminal.out(f"{value!r}\n")
