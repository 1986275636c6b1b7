"""Notice coroutines that nobody awaited: work that silently did not happen must not exit 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("oneoff_unawaited", default=None)
_MESSAGE = re.compile(r"coroutine '(.+)' was never awaited")


_under_way: list[list[str]] = []
"""What the runs under way have dropped. The first installs the hook, the last takes it away: a
worker has several at once, which begin and end in any order."""
_hook = ExitStack()


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect the names of coroutines that are dropped un-awaited while the block runs.

    Python reports a dropped coroutine as a RuntimeWarning at the moment it is freed, which with
    reference counting is when its last name goes out of scope: before `handle` has returned. Other
    tasks of the process have another context, so their carelessness is not this run's.
    """
    names: list[str] = []
    token = _collected.set(names)
    if not _under_way:
        _install()
    _under_way.append(names)
    try:
        yield names
    finally:
        # By identity: lists that hold the same are equal.
        _under_way[:] = [other for other in _under_way if other is not names]
        if not _under_way:
            _hook.close()
        _collected.reset(token)


def _install() -> None:
    _hook.enter_context(warnings.catch_warnings())
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        match = _MESSAGE.search(str(message)) if category is RuntimeWarning else None
        names = _collected.get()
        if match and names is not None:
            names.append(match[1])
        else:
            shown(message, category, *rest, **more)

    warnings.filterwarnings("always", message=_MESSAGE.pattern, category=RuntimeWarning)
    warnings.showwarning = show
