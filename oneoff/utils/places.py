"""Find the line of the user's code that an exception comes from."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_FRAMEWORK = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_PYDANTIC = ("pydantic", "pydantic_core")


def place_of(exc: BaseException) -> str:
    """Return "file:line" of an exception, or an empty text if no file is known.

    It is the innermost line of the user's code, because an error in a declaration is raised in the
    framework or in a library. If none of the lines is the user's, it is the innermost line outside
    the framework. A path in the current folder is shown relative to it.
    """
    declared: str = getattr(exc, "place", "")
    if declared:
        return declared
    if isinstance(exc, SyntaxError) and exc.filename and os.path.isfile(exc.filename):
        return shown_place(exc.filename, exc.lineno or 1)
    found = list(_lines(exc))
    users = [line for line in found if is_user_code(line[0])]
    others = [line for line in found if not line[0].startswith(_FRAMEWORK)]
    for lines in (users, others, found):
        if lines:
            return shown_place(*lines[-1])
    return ""


def error_text(exc: BaseException) -> str:
    """Return the type and the message of an exception in one line.

    It raises nothing, whatever the exception's own code does.
    """
    text = _problems(exc) if is_from_pydantic(exc) else message_of(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def message_of(exc: BaseException) -> str:
    """Return the message of an exception; an empty text if its own code fails to give one."""
    try:
        return str(exc.msg if isinstance(exc, SyntaxError) else exc).strip()
    except Exception:  # noqa: BLE001 - `__str__` may be the application's code
        return ""


def is_from_pydantic(exc: BaseException) -> bool:
    """Return whether pydantic refused data: version 2, or the version 1 that is part of it.

    Other packages and applications have a class with the name ValidationError too.
    """
    kind = type(exc)
    return kind.__name__ == "ValidationError" and kind.__module__.partition(".")[0] in _PYDANTIC


def _problems(exc: Any) -> str:
    """Return what pydantic refuses, without its own message.

    That one is a page long, and contains the values, which may be secret.
    """
    is_version_2 = type(exc).__module__.startswith("pydantic_core")
    no_values = {"include_input": False, "include_url": False} if is_version_2 else {}
    problems = exc.errors(**no_values)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)


def shown_place(file: str, line: int) -> str:
    """Return "file:line", relative to the current folder if the file is in it."""
    try:
        here = os.getcwd() + os.sep
    except FileNotFoundError:  # it was deleted
        here = file
    return f"{file.removeprefix(here) or file}:{line}"


def is_user_code(file: str) -> bool:
    """Return whether a file is neither the framework's, nor Python's, nor of a package."""
    return not file.startswith(("<", _FRAMEWORK, _LIBRARY)) and not any(
        folder in file for folder in _INSTALLED
    )


def _lines(exc: BaseException) -> Iterator[tuple[str, int]]:
    trace = exc.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            yield file, trace.tb_lineno
        trace = trace.tb_next
