"""For the application's web process: middleware for any ASGI framework, health checks, a pool.

Nothing here imports a web framework.
"""

from oneoff.integrations.asgi.health import HealthChecks, is_ready, open_health_checks
from oneoff.integrations.asgi.maintenance import MaintenanceMiddleware
from oneoff.integrations.asgi.protocol import App
from oneoff.integrations.asgi.request_id import RequestIdMiddleware
from oneoff.integrations.asgi.startup import RefusedStart
from oneoff.integrations.pooled_database import PooledDatabase, open_pooled_database
from oneoff.services.maintenance.reader import MaintenanceReader

__all__ = [
    "App",
    "HealthChecks",
    "MaintenanceMiddleware",
    "MaintenanceReader",
    "PooledDatabase",
    "RefusedStart",
    "RequestIdMiddleware",
    "is_ready",
    "open_health_checks",
    "open_pooled_database",
]
