"""Whatever the application opens by itself only reads while a run only looks, or is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from oneoff.core.policy import Mode
from oneoff.redis.other_clients import read_only_clients


@contextmanager
def only_looking(mode: Mode, *, engines: bool, process_wide: bool = False) -> Iterator[None]:
    """Keep engines and Redis clients of the application from writing.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`.
        engines: Whether engines are watched too; that imports SQLAlchemy.
        process_wide: Whether threads without the run's context are protected too.

    Raises:
        ReadOnlyViolation: Something tried to write, whatever the command did with the error.
        DryRunViolation: The same in a dry run that is rolled back.
    """
    with ExitStack() as stack:
        clients = stack.enter_context(read_only_clients(mode, process_wide=process_wide))
        others = None
        if engines:
            from oneoff.database.guards.other_engines import read_only_engines

            others = stack.enter_context(read_only_engines(mode, process_wide=process_wide))
        yield
    refused = clients.refused or (others and others.refused)
    if refused:
        raise refused
