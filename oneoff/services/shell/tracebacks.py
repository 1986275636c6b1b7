"""Tracebacks that show the user's own code, and not the machinery around it."""

from __future__ import annotations

from pathlib import Path
from traceback import StackSummary, TracebackException

_FRAMEWORK = Path(__file__).resolve().parent.parent
_INSTALLED = ("site-packages", "dist-packages")
_TYPED = ("<string>", "<stdin>", "<input ")


def user_traceback(exc: BaseException, root: Path, script: str = "") -> str:
    """Return a traceback without the frames of installed packages and of this framework.

    Args:
        exc: What was raised.
        root: The project's root folder, whose code is the user's.
        script: A file outside of it that is the user's too.
    """
    shown = TracebackException.from_exception(exc, compact=True)
    _keep_own_frames(shown, root, script)
    return "".join(shown.format() if shown.stack else shown.format_exception_only())


def _keep_own_frames(shown: TracebackException, root: Path, script: str) -> None:
    shown.stack = StackSummary.from_list(
        [frame for frame in shown.stack if _is_users(frame.filename, root, script)]
    )
    for link in ("__cause__", "__context__"):
        inner: TracebackException | None = getattr(shown, link)
        if inner is None:
            continue
        _keep_own_frames(inner, root, script)
        # A driver's error behind SQLAlchemy's says the same again.
        if not inner.stack:
            setattr(shown, link, None)


def _is_users(filename: str, root: Path, script: str) -> bool:
    if filename == script or filename.startswith(_TYPED):
        return True
    path = Path(filename)
    return (
        path.is_relative_to(root)
        and not path.is_relative_to(_FRAMEWORK)
        and not any(folder in path.parts for folder in _INSTALLED)
    )
