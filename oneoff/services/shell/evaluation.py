"""Compile and run what a person or a script says, with `await` at the top level."""

from __future__ import annotations

import ast
import linecache
from codeop import CommandCompiler
from inspect import iscoroutine
from types import CodeType, FunctionType
from typing import Any


def compile_script(source: str, filename: str) -> CodeType:
    """Return the code of a whole script.

    Raises:
        SyntaxError: As Python would say it.
    """
    remember(source, filename)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(source, filename, "exec", flags=flags, dont_inherit=True)
    return code


class Statements:
    """Compiles the statements of one interactive session, which share `from __future__` imports."""

    def __init__(self) -> None:
        self._compiler = CommandCompiler()
        self._compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._count = 0

    def compile(self, source: str) -> CodeType | None:
        """Return the code of one statement; None while it is incomplete.

        Raises:
            SyntaxError, ValueError, OverflowError: It can't become a statement.
        """
        filename = f"<input {self._count + 1}>"
        remember(source, filename)
        code = self._compiler(source, filename, "single")
        self._count += code is not None
        return code


async def evaluate(code: CodeType, names: dict[str, Any]) -> None:
    """Run code in the current task, so that what it sets in context variables stays set."""
    value = FunctionType(code, names)()
    if iscoroutine(value):
        await value


def remember(source: str, filename: str) -> None:
    """Let tracebacks show the lines of what was never a file."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
