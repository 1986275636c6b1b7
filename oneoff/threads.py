"""Blocking work beside the event loop, in threads that can be left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
