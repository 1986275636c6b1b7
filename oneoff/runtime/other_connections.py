"""Refuse writes through the application's own engines and Redis clients: the other connections.

A guard protects the transaction of the run itself (`oneoff.database.guards`). It can't undo what a
service writes through an engine or a client of its own. In a dry run and in a read-only run those
may only read: `oneoff.database.guards.other_engines` and `oneoff.redis.other_clients` see to it.

One violation is reported: that of the run's own transaction (`begin_work`), else the first of a
Redis client, else the first of an engine. It replaces an error that the command raised itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from oneoff.core.errors import DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.redis.other_clients import read_only_clients
from oneoff.runtime import signals

if TYPE_CHECKING:
    from oneoff.core.errors import CommandError
    from oneoff.database.guards.other_engines import Protection
    from oneoff.redis.other_clients import ClientProtection


@contextmanager
def read_only_connections(
    mode: Mode, *, engines: bool = True, clients: bool = True, process_wide: bool = False
) -> Iterator[None]:
    """Let the application's engines and Redis clients only read while the block runs.

    Args:
        mode: Which error a write is: `READ_ONLY` or `ROLLBACK`.
        engines: Whether engines are included; that imports SQLAlchemy.
        clients: Whether Redis clients are included.
        process_wide: Whether threads without the run's context are included.

    Raises:
        ReadOnlyViolation: Something tried to write, whatever the command did with the error.
        DryRunViolation: The same in a dry run that is rolled back.
    """
    protections: list[ClientProtection | Protection] = []
    with ExitStack() as stack:
        if clients:
            entered = read_only_clients(mode, process_wide=process_wide)
            protections.append(stack.enter_context(entered))
        if engines:
            from oneoff.database.guards.other_engines import read_only_engines

            protections.append(
                stack.enter_context(read_only_engines(mode, process_wide=process_wide))
            )
        try:
            yield
        except Exception as exc:
            violation = _first_violation(protections)
            reported = isinstance(exc, DryRunViolation | ReadOnlyViolation)
            # After a signal, an error is a consequence of the signal, which decides the exit code.
            if violation is None or reported or signals.received():
                raise
            raise violation from exc
    violation = _first_violation(protections)
    if violation is not None:
        raise violation


def _first_violation(
    protections: list[ClientProtection | Protection],
) -> CommandError | None:
    return next((one.refused for one in protections if one.refused), None)
