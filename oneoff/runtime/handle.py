"""Call the `handle` of a command: a coroutine, a plain function, or one with a plain session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.core.result import Result
from oneoff.runtime.unfinished_tasks import waiting_for_tasks
from oneoff.utils.concurrency import in_daemon_thread, stoppable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


async def call_handle(
    handle: Callable[..., Any], opened: Mapping[str, Any], dropped: list[str]
) -> object:
    """Call `handle` with its resources, and return what it returns.

    A plain function that asks for `session` gets a plain `Session` in the same transaction. It runs
    in the thread of the event loop, where SQLAlchemy awaits each of its statements. Any other plain
    function runs in a thread of its own.

    Args:
        handle: The method of the command.
        opened: The resources by the names of its parameters.
        dropped: Gets the name of `handle` if it returned a coroutine, whose work is never done.

    Raises:
        Late: The run was cancelled, but `handle` has ended.
    """
    session: Any = opened.get("session")
    if asyncio.iscoroutinefunction(handle):
        async with waiting_for_tasks():
            return await stoppable(handle(**opened))
    if hasattr(session, "run_sync"):
        result = await stoppable(
            session.run_sync(lambda plain: handle(**{**opened, "session": plain}))
        )
    else:
        result = await in_daemon_thread(lambda: handle(**opened))
    if asyncio.iscoroutine(result):
        result.close()
        dropped.append(handle.__qualname__)
    return result


def checked_result(result: object, dropped: list[str], handle: str) -> Result:
    """Return the result of `handle`, or raise an error if it is not valid.

    Args:
        result: The value that `handle` returned.
        dropped: Names of the coroutines that it did not await.
        handle: Its qualified name, for messages.
    """
    if dropped:
        raise CommandError(
            f"not awaited: {', '.join(dropped)}",
            why="a coroutine that is not awaited does nothing; the run was rolled back",
            try_="write `await` before the call",
            code="not-awaited",
        )
    if not isinstance(result, Result):
        raise CommandError(
            f"{handle} returned {type(result).__name__}, not a Result",
            try_='return Result.changed("...", rows=1) or Result.unchanged("...")',
            code="no-result",
        )
    return result
