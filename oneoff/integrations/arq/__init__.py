"""For the application's ARQ worker: its connection, log context, pauses, and shards of a batch."""

from oneoff.integrations.arq.worker import (
    WorkerConnection,
    bind_job,
    outlive_outages,
    pause_during_maintenance,
    shard_function,
)

__all__ = [
    "WorkerConnection",
    "bind_job",
    "outlive_outages",
    "pause_during_maintenance",
    "shard_function",
]
