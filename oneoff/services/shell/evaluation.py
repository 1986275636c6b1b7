"""Compile and run statements and scripts with top-level `await`, and format tracebacks."""

from __future__ import annotations

import ast
import linecache
from codeop import CommandCompiler
from inspect import iscoroutine
from pathlib import Path
from traceback import StackSummary, TracebackException
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, ReadOnlyViolation

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal
    from oneoff.utils.redaction import Redactor

_FRAMEWORK = Path(__file__).resolve().parents[2]
_INSTALLED = ("site-packages", "dist-packages")
_ENTERED = ("<string>", "<stdin>", "<input ", "<ipython-input-")


class Statements:
    """Compiles the statements of one interactive session.

    `CommandCompiler` remembers `from __future__` imports for the statements that follow.
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
        self._count += code is not None  # an incomplete statement keeps its number
        return code


async def evaluate(code: CodeType, names: dict[str, Any]) -> None:
    """Run code in the current task, so that the context variables that it sets stay set.

    Code with a top-level `await` becomes a coroutine function: calling it returns a coroutine.
    """
    value = FunctionType(code, names)()
    if iscoroutine(value):
        await value


def _remember_source(source: str, filename: str) -> None:
    """Store the source in the cache where tracebacks find lines, because it is not in a file."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


async def run_script(
    source: str,
    filename: str,
    names: dict[str, Any],
    *,
    root: Path,
    terminal: Terminal,
    redactor: Redactor,
) -> None:
    """Run a script in the current task. All of its work is in the caller's transaction.

    Args:
        source: The text of the script.
        filename: "<string>", "<stdin>" or the script's path.
        names: The namespace of the script.
        root: The project's root folder.
        terminal: Its standard error gets the traceback of the user's code.
        redactor: Masks secrets in the traceback.

    Raises:
        CommandError: The script raised an exception, or exited with a code other than 0.
    """
    _remember_source(source, filename)
    # dont_inherit: the script must not get the `from __future__` imports of this module.
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        await evaluate(compile(source, filename, "exec", flags=flags, dont_inherit=True), names)
    except SystemExit as exc:
        if exc.code:
            text = exc.code if isinstance(exc.code, str) else None
            raise CommandError(
                text or f"the script exited with code {exc.code}",
                why="its work was rolled back",
                code="script-failed",
            ) from exc
    except Exception as exc:
        terminal.err(redactor.text(user_traceback(exc, root, filename)))
        raise _failure(exc, filename) from exc


def _failure(exc: Exception, filename: str) -> CommandError:
    from oneoff.database.errors import translate_error

    known = exc if isinstance(exc, CommandError) else translate_error(exc)
    if isinstance(known, ReadOnlyViolation):
        return ReadOnlyViolation(
            known.message,
            why="a shell without --write is read-only",
            try_="run the same command with --write",
        )
    return known or CommandError(
        f"{filename} failed: {type(exc).__name__}: {exc}",
        why="its work was rolled back",
        code="script-failed",
    )


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
        # Without user frames, it is the driver's error, whose text the SQLAlchemy error repeats.
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
