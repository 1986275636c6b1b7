"""Run asyncio work that must not be interrupted, must stop, or must not outlive its caller."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

INSIST = 1.0
"""Seconds after which work that was cancelled, and goes on, is cancelled again."""


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work to end, also when this task is cancelled meanwhile.

    The cancellation is dropped: once a commit has begun, only its own answer says whether the
    work is done, and "interrupted, rolled back" might be a lie. The grace period of
    `oneoff.runtime.signals` still bounds the wait.
    """
    task, _ = await _ended(work)
    return task.result()


async def undivided(work: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]]) -> T:
    """Wait for short work to end, and raise a cancellation that came meanwhile only then.

    Args:
        work: What a driver can't be interrupted in without losing its way.
        undo: Takes the result back where the cancellation is raised instead of returning it.
    """
    task, cancelled = await _ended(work)
    if cancelled is None:
        return task.result()
    if task.exception() is None:
        await undo(task.result())
    raise cancelled


async def stoppable(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the work in a task of its own, and make sure that a cancellation stops it.

    One can be lost: until Python 3.12 `asyncio.wait_for`, which drivers use, drops it where the
    answer comes at the same moment. So it is repeated until the work has ended; and work that
    ended as if nothing had been said was stopped all the same.

    Raises:
        CancelledError: This task was cancelled meanwhile, and the work did not fail by itself.
    """
    task = asyncio.create_task(_kept(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await uninterrupted(_wait(task))
        if not task.cancelled() and isinstance(error := task.result(), BaseException):
            raise error from None
        raise
    result = task.result()
    if isinstance(result, BaseException):
        raise result
    return result


async def _kept(work: Coroutine[Any, Any, T]) -> T | BaseException:
    """Return what the work raises: SystemExit, raised in a task, would end the loop."""
    try:
        return await work
    except asyncio.CancelledError:
        raise
    except BaseException as exc:  # noqa: BLE001 - raised by who waits for it
        return exc


async def _wait(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task], timeout=INSIST)


async def _ended(
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
    """Run blocking work in a thread that a cancelled run may leave behind.

    asyncio.to_thread would keep the process alive until a read that never ends has ended.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(action: Callable[[], object]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else action())

    def target() -> None:
        try:
            value = context.run(work)
        except BaseException as exc:  # noqa: BLE001 - handed to the awaiting task
            error = exc
            settle(lambda: future.set_exception(error))
        else:
            settle(lambda: future.set_result(value))

    threading.Thread(target=target, daemon=True, name="oneoff-blocking").start()
    return await future


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and return their results in order.

    The first error stops the rest and is raised, as itself: a group of errors would say less to
    an operator.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
