"""Compile and run source code with `await` at the top level, and format its tracebacks."""

from __future__ import annotations

import ast
import linecache
from codeop import CommandCompiler
from inspect import iscoroutine
from pathlib import Path
from traceback import StackSummary, TracebackException
from types import CodeType, FunctionType
from typing import Any

_FRAMEWORK = Path(__file__).resolve().parents[2]
_INSTALLED = ("site-packages", "dist-packages")
_ENTERED = ("<string>", "<stdin>", "<input ")


def compile_script(source: str, filename: str) -> CodeType:
    """Return the code of a whole script.

    Raises:
        SyntaxError: The source is not valid Python.
    """
    _remember_source(source, filename)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(source, filename, "exec", flags=flags, dont_inherit=True)
    return code


class Statements:
    """Compiles the statements of one interactive session.

    They share `from __future__` imports, which `CommandCompiler` remembers.
    """

    def __init__(self) -> None:
        self._compiler = CommandCompiler()
        self._compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._count = 0

    def compile(self, source: str) -> CodeType | None:
        """Return the code of one statement, or None if it needs more lines.

        Raises:
            SyntaxError, ValueError, OverflowError: No further line can make it a statement.
        """
        filename = f"<input {self._count + 1}>"
        _remember_source(source, filename)
        code = self._compiler(source, filename, "single")
        self._count += code is not None
        return code


async def evaluate(code: CodeType, names: dict[str, Any]) -> None:
    """Run code in the current task, so that context variables it sets stay set.

    Code with a top-level `await` becomes a coroutine function: calling it returns a coroutine.
    """
    value = FunctionType(code, names)()
    if iscoroutine(value):
        await value


def _remember_source(source: str, filename: str) -> None:
    """Store the source where tracebacks look up lines; it was never a file."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


def user_traceback(exc: BaseException, root: Path, script: str = "") -> str:
    """Return a traceback without the frames of installed packages and of this framework.

    Args:
        exc: The exception.
        root: The project's root folder; the code in it is the user's.
        script: The script that was run; it is the user's even if it is outside of `root`.
    """
    shown = TracebackException.from_exception(exc, compact=True)
    _keep_user_frames(shown, root, script)
    return "".join(shown.format() if shown.stack else shown.format_exception_only())


def _keep_user_frames(shown: TracebackException, root: Path, script: str) -> None:
    shown.stack = StackSummary.from_list(
        [frame for frame in shown.stack if _is_user_code(frame.filename, root, script)]
    )
    for link in ("__cause__", "__context__"):
        inner: TracebackException | None = getattr(shown, link)
        if inner is None:
            continue
        _keep_user_frames(inner, root, script)
        # The driver's error repeats the text of the SQLAlchemy error that it caused.
        if not inner.stack:
            setattr(shown, link, None)


def _is_user_code(filename: str, root: Path, script: str) -> bool:
    if filename == script or filename.startswith(_ENTERED):
        return True
    path = Path(filename)
    return (
        path.is_relative_to(root)
        and not path.is_relative_to(_FRAMEWORK)
        and not any(folder in path.parts for folder in _INSTALLED)
    )
