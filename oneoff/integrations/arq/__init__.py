"""For the application's ARQ worker: connection, log context, pauses, shards and a database pool.

A name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from oneoff.integrations.arq.worker import WorkerConnection as WorkerConnection
    from oneoff.integrations.arq.worker import bind_job as bind_job
    from oneoff.integrations.arq.worker import outlive_outages as outlive_outages
    from oneoff.integrations.arq.worker import pause_during_maintenance as pause_during_maintenance
    from oneoff.integrations.arq.worker import shard_function as shard_function
    from oneoff.integrations.pooled_database import PooledDatabase as PooledDatabase
    from oneoff.integrations.pooled_database import open_pooled_database as open_pooled_database
    from oneoff.services.maintenance.reader import MaintenanceReader as MaintenanceReader

_NAMES_BY_MODULE = {
    "oneoff.integrations.arq.worker": (
        "WorkerConnection",
        "bind_job",
        "outlive_outages",
        "pause_during_maintenance",
        "shard_function",
    ),
    "oneoff.integrations.pooled_database": ("PooledDatabase", "open_pooled_database"),
    "oneoff.services.maintenance.reader": ("MaintenanceReader",),
}
__all__ = sorted(  # noqa: PLE0605 # pyright: ignore[reportUnsupportedDunderAll]
    name for names in _NAMES_BY_MODULE.values() for name in names
)
__getattr__ = lazy_names(__name__, _NAMES_BY_MODULE)
