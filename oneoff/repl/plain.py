"""The prompt that needs nothing but the standard library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from types import CodeType
from typing import TYPE_CHECKING, Any

from oneoff import unawaited
from oneoff.repl.evaluation import Statements, evaluate
from oneoff.repl.interrupts import Interrupts

if TYPE_CHECKING:
    from oneoff.terminal import Terminal

Read = Callable[[str], Awaitable[str | None]]
"""Shows a prompt and returns a line; None at end of input."""

PROMPT, MORE = ">>> ", "... "


class PlainPrompt:
    """Reads statements, runs them, and shows what they give.

    Args:
        terminal: Where values and errors go.
        read: Where lines come from.
        names: The namespace.
        interrupts: Tells Ctrl-C from the end of the run.
        explain: Returns what to show for an exception.
    """

    def __init__(
        self,
        terminal: Terminal,
        read: Read,
        names: dict[str, Any],
        interrupts: Interrupts,
        explain: Callable[[BaseException], str],
    ) -> None:
        self._terminal, self._read, self._names = terminal, read, names
        self._interrupts, self._explain = interrupts, explain

    async def interact(
        self, around: Callable[[str], Any]
    ) -> None:
        """Go on until the person leaves: with Ctrl-D, or exit().

        Args:
            around: Makes the async context manager in which a statement runs, from its source.
        """
        statements = Statements()
        with self._showing_values():
            async for source, code in self._statements(statements):
                try:
                    async with around(source):
                        await self._run(code)
                except SystemExit:
                    return

    async def _statements(
        self, statements: Statements
    ) -> AsyncIterator[tuple[str, CodeType]]:
        lines: list[str] = []
        while True:
            try:
                line = await self._read(MORE if lines else PROMPT)
                if line is None:
                    return
                lines.append(line)
                source = "\n".join(lines)
                code = statements.compile(source)
            except KeyboardInterrupt:
                self._terminal.err("\nKeyboardInterrupt\n")
                lines.clear()
            except asyncio.CancelledError:
                if not self._interrupts.took():
                    raise
                lines.clear()
            except (SyntaxError, ValueError, OverflowError) as exc:
                self._terminal.err(self._explain(exc))
                lines.clear()
            else:
                if code is not None:
                    lines.clear()
                    yield source, code

    async def _run(self, code: CodeType) -> None:
        with unawaited.collecting() as dropped:
            try:
                await evaluate(code, self._names)
            except KeyboardInterrupt:
                self._terminal.err("\nKeyboardInterrupt\n")
            except asyncio.CancelledError:
                if not self._interrupts.took():
                    raise
                self._terminal.err("\nKeyboardInterrupt\n")
