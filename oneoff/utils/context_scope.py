"""What holds for the code of a run: in its tasks, or in every thread of a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Scope(Generic[T]):
    """Knows the innermost value that was set around the code which asks.

    Args:
        name: Of the context variable, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._of_context: ContextVar[T | None] = ContextVar(name, default=None)
        self._of_process: list[T] = []

    def current(self) -> T | None:
        """Return what holds here; None outside of every `holding`."""
        return self._of_context.get() or (self._of_process[-1] if self._of_process else None)

    @contextmanager
    def holding(self, value: T, *, process_wide: bool) -> Iterator[T]:
        """Let a value hold for the code run inside, and for the tasks it starts.

        Args:
            value: What `current` returns meanwhile.
            process_wide: Whether it also holds in threads that don't have the run's context. Right
                in a process that does nothing else than this run.
        """
        before = self._of_context.get()
        self._of_context.set(value)
        if process_wide:
            self._of_process.append(value)
        try:
            yield value
        finally:
            self._of_context.set(before)
            if process_wide:
                self._of_process.remove(value)
