"""Find the names that complete a value: users, tables, numbers of tasks.

An input names the function that knows them: `Argument(complete="app.users:usernames")`. At the tab
key a late answer is worth nothing, and an error would destroy the line that is being typed. So
there is no answer in both cases.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from oneoff.core.policy import Mode
from oneoff.core.project import load_object
from oneoff.runtime import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from oneoff.runtime.application import Application

ANSWER_SECONDS = 0.3
"""How long the database may take, with connecting to it."""
LATE_SECONDS = 0.2
"""After this time more, the process ends although something still blocks.

Such as the look-up of a host's name, or a function without `connection`.
"""

_SAFE = re.compile(r"\w[\w.@:+-]*")
"""A name that a shell does not read as anything else: the shell inserts it as it is."""


def names(app: Application, function: str, prefix: str) -> Sequence[str]:
    """Return the names that can complete a word; none if they can't be found in time.

    Args:
        app: The project.
        function: Import string of the function that knows the names. It asks for what it needs by
            name: `connection` (read-only, then it is a coroutine), `prefix`, `registry`, `project`.
        prefix: What was typed of the word.
    """
    try:
        return [name for name in _found(app, function, prefix) if _SAFE.fullmatch(name)]
    except (Exception, SystemExit):  # noqa: BLE001 - any text would destroy the line
        return ()  # such as a bug of the function, or a table that no revision has created yet


def _found(app: Application, function: str, prefix: str) -> Sequence[str]:
    found = load_object(function)
    given = {"prefix": prefix, "registry": app.registry, "project": app.project}
    wanted = {name: given[name] for name in signature(found).parameters if name in given}
    with signals.deadline(ANSWER_SECONDS, LATE_SECONDS, signals.end_quietly):
        if "connection" not in signature(found).parameters:
            return list(found(**wanted))
        return asyncio.run(_from_database(app, found, wanted))


async def _from_database(
    app: Application, function: Callable[..., Any], wanted: dict[str, Any]
) -> Sequence[str]:
    from oneoff.database.engine import Database
    from oneoff.database.transaction import begin_work

    url = app.database_url()
    if not url.exists():
        return ()  # connecting would create the file
    database = Database(url, run_id="completion")
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            begin_work(database, Mode.READ_ONLY) as work,
        ):
            return list(await function(connection=work.connection, **wanted))
    finally:
        await database.dispose()
