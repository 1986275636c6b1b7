"""Run asyncio work that must not be interrupted, must stop, or must not outlive its caller.

| Function | If the caller is cancelled |
| --- | --- |
| `uninterrupted` | the work continues, and the cancellation is dropped |
| `undivided` | the work continues, is undone, and then the cancellation is raised |
| `stoppable` | the work is cancelled until it has ended |
| `in_daemon_thread` | the thread continues, and nothing waits for it |
| `together` | all of the work is cancelled |
| `cancelled` | the tasks are cancelled nevertheless |
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

INSIST = 1.0
"""Seconds until work that ignored a cancellation is cancelled again."""
_TRIES = 3


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Wait until the work has ended, even if this task is cancelled meanwhile.

    The cancellation is dropped. Once COMMIT is sent, only the server's answer shows whether it
    succeeded, so "interrupted, rolled back" could be wrong. The grace period of
    `oneoff.runtime.signals` limits the wait.
    """
    task, _ = await _wait_until_done(work)
    return task.result()


async def undivided(work: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]]) -> T:
    """Wait until short work has ended, and only then raise a cancellation that came meanwhile.

    Args:
        work: Work during which a driver must not be interrupted, such as opening a connection.
        undo: Undoes the work; called with its result before the cancellation is raised.
    """
    task, cancelled = await _wait_until_done(work)
    if cancelled is None:
        return task.result()
    if task.exception() is None:
        await undo(task.result())
    raise cancelled


class Late(asyncio.CancelledError):
    """A cancellation that came too late: the work has ended, with this result."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result


async def stoppable(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work in a separate task, and make sure that a cancellation stops it.

    A cancellation can be lost: before Python 3.12 `asyncio.wait_for`, which drivers use, drops it
    if the answer arrives at the same time. So it is repeated until the work has ended.

    Raises:
        CancelledError: This task was cancelled meanwhile, and the work did not fail itself.
        Late: The same, but the work has returned a result.
    """
    task = asyncio.create_task(_return_errors(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()  # again after INSIST seconds, because the work may have dropped it
            await uninterrupted(_wait(task))
        if task.cancelled():
            raise
        outcome = task.result()
        raise (outcome if isinstance(outcome, BaseException) else Late(outcome)) from None
    result = task.result()
    if isinstance(result, BaseException):
        raise result
    return result


async def _return_errors(work: Coroutine[Any, Any, T]) -> T | BaseException:
    """Return an exception instead of raising it: SystemExit in a task would end the loop."""
    try:
        return await work
    except asyncio.CancelledError:
        raise
    except BaseException as exc:  # noqa: BLE001 - the waiting task raises it
        return exc


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; give up on those that ignore it repeatedly."""
    for _ in range(_TRIES):
        running = [task for task in tasks if not task.done()]
        if not running:
            return
        for task in running:
            task.cancel()
        await uninterrupted(_wait(*running))


async def _wait(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, timeout=INSIST)


async def _wait_until_done(
    work: Coroutine[Any, Any, T],
) -> tuple[asyncio.Task[T], asyncio.CancelledError | None]:
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    return task, cancelled


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a daemon thread. If the run is cancelled, nothing waits for the thread.

    The thread of asyncio.to_thread would keep the process alive until a blocked read has ended.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(action: Callable[[], object]) -> None:
        # After a cancellation the thread may end when the future is cancelled and the loop closed.
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else action())

    def target() -> None:
        try:
            value = context.run(work)
        except BaseException as exc:  # noqa: BLE001 - the awaiting task raises it
            error = exc
            settle(lambda: future.set_exception(error))
        else:
            settle(lambda: future.set_result(value))

    threading.Thread(target=target, daemon=True, name="oneoff-blocking").start()
    return await future


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at the same time and return their results in order.

    The first error cancels the others and is raised itself. An ExceptionGroup would be less clear
    to an operator.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
