"""Declare a one-time change of many rows that is run by its name: `data transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from oneoff.core.arguments import Field
from oneoff.services.batch.command import BatchCommand
from oneoff.services.batch.probes import LockWaiters, ReplicaLag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.services.batch.command import Throttle


class Transform(BatchCommand):
    """A batch that is run by its name; declare `select` and `process`, or `change`.

    It has no inputs of its own, so it does the same for every operator and on every server.
    """

    name: ClassVar[str]
    """The name that the operator types: `data transform fill-locale`."""
    revert: ClassVar[type[BatchCommand] | None] = None
    """The batch that reverts it: `data transform fill-locale --revert`."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse inputs, because `data transform` can't set them."""
        super().__init_subclass__(**kwargs)
        inputs = [name for name, value in cls.__dict__.items() if isinstance(value, Field)]
        if inputs:
            message = (
                f"{cls.__module__}.{cls.__qualname__}: a transform has no inputs of its own, so "
                f"not {', '.join(inputs)}; write a command if an operator must set a value"
            )
            raise TypeError(message)

    def probes(self) -> Sequence[Throttle]:
        """Wait while standby servers lag, and while sessions wait for locks."""
        return (ReplicaLag(), LockWaiters())
