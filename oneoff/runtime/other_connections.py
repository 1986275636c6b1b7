"""Make the application's own engines and Redis clients read-only in dry runs and read-only runs.

A guard protects the transaction of the run itself (`oneoff.database.guards`), but it can't undo
writes of a service through another engine or client. `oneoff.database.guards.other_engines` and
`oneoff.redis.other_clients` refuse those.

A run reports one violation: that of its own transaction (`begin_work`) if there is one, otherwise
the first of a Redis client, otherwise the first of an engine. The violation replaces an error that
the command raised itself.
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
    """Make the application's engines and Redis clients read-only while the block runs.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`; decides which error a write raises.
        engines: Whether to include engines; this imports SQLAlchemy.
        clients: Whether to include Redis clients.
        process_wide: Whether to include threads without the run's context.

    Raises:
        ReadOnlyViolation: The block tried to write, even if it caught the error.
        DryRunViolation: The same in a dry run that is rolled back.
    """
    protections: list[ClientProtection | Protection] = []
    others: Protection | None = None
    with ExitStack() as stack:
        if clients:
            entered = read_only_clients(mode, process_wide=process_wide)
            protections.append(stack.enter_context(entered))
        if engines:
            from oneoff.database.guards.other_engines import read_only_engines

            others = stack.enter_context(read_only_engines(mode, process_wide=process_wide))
            protections.append(others)
        try:
            yield
        except Exception as exc:
            if others is not None:
                others.note_error(exc)
            violation = _first_violation(protections)
            reported = isinstance(exc, DryRunViolation | ReadOnlyViolation)
            # After a signal, errors are consequences of the signal, and the signal decides the exit
            # code.
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
