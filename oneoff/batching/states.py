"""The states of a batch, as `batch show` names them."""

from __future__ import annotations

from enum import Enum

from oneoff.core.outcome import Status


class State(Enum):
    """The states of a batch. A run that claims one makes it `running`, whatever it was."""

    WAITING = "waiting"
    """A shard that nobody has begun; the run that takes it makes it `running`."""
    RUNNING = "running"
    """A run works at it; or one was killed, and the next one with the same arguments goes on."""
    PAUSED = "paused"
    """A run has it, and waits for `batch resume`."""
    STOPPED = "stopped"
    """A bound, a signal or an error ended the run; the next one goes on."""
    FINISHED = "finished"
    """All rows are done."""
    CANCELLED = "cancelled"
    """An operator gave it up, or started it again with `--new-run`."""


ENDED = frozenset({State.FINISHED, State.CANCELLED})
"""Nothing leads out of these; the next run with the same arguments begins a new batch."""

IDLE = frozenset({State.WAITING, State.STOPPED})
"""In these nobody works at it, whatever became of the run that had it. A run that has finished one
may still have to say so."""

UNTOLD = frozenset({Status.STARTED.value, Status.ABANDONED.value})
"""A run with this status has told nobody what it has finished."""
