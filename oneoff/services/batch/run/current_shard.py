"""Which shard a run was started for, where a worker started it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from oneoff.services.batch.state.identity import Identity

TURN = 180.0
"""Seconds a worker works at a shard before other jobs of the project get their turn."""

assigned: ContextVar[str] = ContextVar("oneoff_assigned", default="")
"""Id of the shard that the run in this task was started for; empty outside of a worker."""


def check_same(identity: Identity, whole: Mapping[Any, Any]) -> None:
    """Refuse a run whose inputs are not those that the batch was begun with.

    Raises:
        ConfigurationError: `batch-arguments`.
    """
    if identity.key != whole["key"]:
        raise ConfigurationError(
            f"{identity.command} has other inputs here than in the batch {whole['id']}",
            why="the worker's code is not the code that began the batch",
            try_="deploy the same release everywhere, or begin again with --new-run",
            code="batch-arguments",
        )
