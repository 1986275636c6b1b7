"""Let a command refuse its inputs before the operator is asked to confirm them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ReadOnlyViolation
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oneoff.core.command import BaseCommand
    from oneoff.database.engine import Database


async def check_inputs(
    command: BaseCommand, given: Mapping[str, Any], database: Database | None
) -> None:
    """Call the command's `check_inputs` with the resources that it asks for.

    Args:
        command: With its inputs.
        given: The resources that need not be opened.
        database: Opens the read-only session. None if there is no database, or if the operator is
            not asked: then a check that asks for the session is left out, because `handle` finds
            the same problem without a second connection.
    """
    names = command.check_resources()
    async with AsyncExitStack() as stack:
        resources = dict(given)
        if "session" in names:
            if database is None:
                return
            from oneoff.database.transaction import begin_work

            work = await stack.enter_async_context(begin_work(database, Mode.READ_ONLY))
            resources["session"] = work.session
        try:
            await command.check_inputs(**{name: resources[name] for name in names})
        except Exception as exc:
            if "session" in names and _is_refused_write(exc):
                raise ReadOnlyViolation(
                    "check_inputs tried to write, but its session is read-only",
                    why="the run is not confirmed yet",
                    try_="write in handle",
                ) from exc
            raise


def _is_refused_write(exc: Exception) -> bool:
    from oneoff.database.errors import is_read_only_error

    return is_read_only_error(exc)
