"""Find coroutines that were not awaited: a run whose work did not happen must not exit with 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("oneoff_unawaited", default=None)
_MESSAGE = re.compile(r"coroutine '(.+)' was never awaited")


# In a worker, several runs start and end in any order. The first one installs the hook, and the
# last one removes it.
_active: list[list[str]] = []
"""The lists of the active runs."""
_hook = ExitStack()


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect the names of coroutines that were never awaited and are freed in the block.

    Python reports such a coroutine with a RuntimeWarning when it frees it. Because of reference
    counting, that happens when the last reference goes out of scope, before `handle` returns. Other
    tasks of the process have another context, so their coroutines don't count for this run.
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

    # By default, Python shows a warning only once for each line of code.
    warnings.filterwarnings("always", message=_MESSAGE.pattern, category=RuntimeWarning)
    warnings.showwarning = show
