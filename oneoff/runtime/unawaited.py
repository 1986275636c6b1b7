"""Find coroutines that nobody awaited: a run whose work did not happen must not exit 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("oneoff_unawaited", default=None)
_MESSAGE = re.compile(r"coroutine '(.+)' was never awaited")


_active: list[list[str]] = []
"""The lists of the runs that are going on. The first run installs the hook and the last one removes
it: in a worker several runs begin and end in any order."""
_hook = ExitStack()


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect the names of coroutines that are freed without having been awaited in the block.

    Python reports such a coroutine with a RuntimeWarning when it is freed: with reference counting
    that is when its last name goes out of scope, before `handle` has returned. Other tasks of the
    process have another context, so their coroutines are not counted to this run.
    """
    names: list[str] = []
    token = _collected.set(names)
    if not _active:
        _install()
    _active.append(names)
    try:
        yield names
    finally:
        # Compare by identity: two empty lists are equal.
        _active[:] = [other for other in _active if other is not names]
        if not _active:
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
