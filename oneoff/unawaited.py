"""Notice coroutines that nobody awaited: work that silently did not happen must not exit 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("oneoff_unawaited", default=None)
_MESSAGE = re.compile(r"coroutine '(.+)' was never awaited")


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect the names of coroutines that are dropped un-awaited while the block runs.

    Python reports a dropped coroutine as a RuntimeWarning at the moment it is freed, which with
    reference counting is when its last name goes out of scope: before `handle` has returned. Other
    tasks of the process have another context, so their carelessness is not this run's.
    """
    names: list[str] = []
    token = _collected.set(names)
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            match = _MESSAGE.search(str(message)) if category is RuntimeWarning else None
            if match and _collected.get() is names:
                names.append(match[1])
            else:
                shown(message, category, *rest, **more)

        warnings.filterwarnings("always", message=_MESSAGE.pattern, category=RuntimeWarning)
        warnings.showwarning = show
        try:
            yield names
        finally:
            _collected.reset(token)
