"""Find tasks that a command started and did not wait for: their work may be lost.

The run's transaction ends when `handle` returns, and the event loop ends with the run. So the work
of a task that is still running then would be missing, although the run ends with 0.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from oneoff.core.errors import CommandError
from oneoff.utils.concurrency import cancelled
from oneoff.utils.places import is_user_code

Task = asyncio.Task[Any]
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_started: ContextVar[set[Task] | None] = ContextVar("oneoff_started_tasks", default=None)


@asynccontextmanager
async def waiting_for_tasks() -> AsyncIterator[None]:
    """Raise an error if a task that was started in the block is not done at its end, or failed.

    Such tasks are cancelled. A task that the block cancelled itself is no error, nor is one whose
    error the block has seen. Tasks of other runs in the same loop don't count, and neither do those
    that packages or `untracked` code start.

    Raises:
        CommandError: A task was still running.
        Exception: The error of a task that nothing has awaited.
    """
    tasks: set[Task] = set()
    token = _started.set(tasks)
    try:
        with _factory_installed(asyncio.get_running_loop()):
            yield
    except BaseException:
        await cancelled(tasks)
        raise
    finally:
        _started.reset(token)
    failed = [task for task in tasks if _is_failed(task)]
    running = [task for task in tasks if not task.done() and not task.cancelling()]
    await cancelled(tasks)
    if failed and (error := failed[0].exception()):
        raise error
    if running:
        raise _not_awaited(running)


@contextmanager
def untracked() -> Iterator[None]:
    """Don't count the tasks that are started in the block: a resource may have lasting ones."""
    token = _started.set(None)
    try:
        yield
    finally:
        _started.reset(token)


class _Factory:
    """Makes the tasks of a loop, and remembers for each run those that it started."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.runs = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        make = self.before or (lambda loop, coro, **more: asyncio.Task(coro, loop=loop, **more))
        task = make(loop, coro, **options)
        tasks = _started.get()
        if tasks is not None and not task.done() and _is_started_by_user():
            tasks.add(task)
            # A task that succeeded is forgotten; there may be very many.
            task.add_done_callback(lambda done: None if _is_failed(done) else tasks.discard(done))
        return task


@contextmanager
def _factory_installed(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Install the factory; of several runs in one loop, the last one removes it."""
    factory = loop.get_task_factory()
    if not isinstance(factory, _Factory):
        factory = _Factory(factory)
        loop.set_task_factory(factory)
    factory.runs += 1
    before = factory.before
    try:
        yield
    finally:
        factory.runs -= 1
        if not factory.runs and loop.get_task_factory() is factory:
            loop.set_task_factory(before)


def _is_started_by_user() -> bool:
    """Return whether user code starts a task now, directly or by a function of asyncio.

    Packages start tasks too, and end them when they want to: asyncpg sends the request to cancel a
    statement in one.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - `inspect` would cost a start 10 ms
    while frame.f_back and frame.f_code.co_filename.startswith(_ASYNCIO):
        frame = frame.f_back
    file = frame.f_code.co_filename
    return file.startswith("<") or is_user_code(file)  # "<string>": code given to the shell


def _is_failed(task: Task) -> bool:
    """Return whether the task has failed and nothing has asked for its error.

    The flag is that of asyncio's own log message, "Task exception was never retrieved". Asking for
    the error would change it.
    """
    return bool(getattr(task, "_log_traceback", False))


def _not_awaited(tasks: list[Task]) -> CommandError:
    names = sorted({getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks})
    return CommandError(
        f"not awaited: {', '.join(names)}",
        why="the command ended while this task was running, and its work would be lost; the run "
        "was rolled back",
        try_="await every task that the command starts, or start them in an asyncio.TaskGroup",
        code="not-awaited",
    )
