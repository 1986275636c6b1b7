"""Provide `Scope`: a value for the tasks of a run, or for all threads of its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Scope(Generic[T]):
    """Holds a value for the code inside a `with` block. The innermost block wins.

    Args:
        name: The name of the context variable, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._of_context: ContextVar[T | None] = ContextVar(name, default=None)
        self._of_process: list[T] = []

    def current(self) -> T | None:
        """Return the current value; None outside of every `holding` block."""
        return self._of_context.get() or (self._of_process[-1] if self._of_process else None)

    @contextmanager
    def holding(self, value: T, *, process_wide: bool) -> Iterator[T]:
        """Set the value for the code inside the block, and for the tasks that it starts.

        Args:
            value: The value that `current` returns meanwhile.
            process_wide: Whether it also applies to threads without the run's context. Use it only
                in a process that does nothing but this run.
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
