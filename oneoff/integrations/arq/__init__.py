"""For the application's ARQ worker: connection, log context, pauses, shards of a batch, a pool."""

from oneoff.integrations.arq.worker import (
    WorkerConnection,
    bind_job,
    outlive_outages,
    pause_during_maintenance,
    shard_function,
)
from oneoff.integrations.pooled_database import PooledDatabase, open_pooled_database
from oneoff.services.maintenance.reader import MaintenanceReader

__all__ = [
    "MaintenanceReader",
    "PooledDatabase",
    "WorkerConnection",
    "bind_job",
    "open_pooled_database",
    "outlive_outages",
    "pause_during_maintenance",
    "shard_function",
]
