"""For the application's web process: ASGI middleware, health checks and a database pool.

This package imports no web framework. A name is loaded when it is first used, so that a process
that only needs a middleware does not load SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from oneoff.integrations.asgi.health import HealthChecks as HealthChecks
    from oneoff.integrations.asgi.health import is_ready as is_ready
    from oneoff.integrations.asgi.health import open_health_checks as open_health_checks
    from oneoff.integrations.asgi.maintenance import MaintenanceMiddleware as MaintenanceMiddleware
    from oneoff.integrations.asgi.protocol import App as App
    from oneoff.integrations.asgi.request_id import RequestIdMiddleware as RequestIdMiddleware
    from oneoff.integrations.asgi.startup import RefusedStart as RefusedStart
    from oneoff.integrations.pooled_database import PooledDatabase as PooledDatabase
    from oneoff.integrations.pooled_database import open_pooled_database as open_pooled_database
    from oneoff.services.maintenance.reader import MaintenanceReader as MaintenanceReader

_NAMES_BY_MODULE = {
    "oneoff.integrations.asgi.health": ("HealthChecks", "is_ready", "open_health_checks"),
    "oneoff.integrations.asgi.maintenance": ("MaintenanceMiddleware",),
    "oneoff.integrations.asgi.protocol": ("App",),
    "oneoff.integrations.asgi.request_id": ("RequestIdMiddleware",),
    "oneoff.integrations.asgi.startup": ("RefusedStart",),
    "oneoff.integrations.pooled_database": ("PooledDatabase", "open_pooled_database"),
    "oneoff.services.maintenance.reader": ("MaintenanceReader",),
}
__all__ = sorted(  # noqa: PLE0605 # pyright: ignore[reportUnsupportedDunderAll]
    name for names in _NAMES_BY_MODULE.values() for name in names
)
__getattr__ = lazy_names(__name__, _NAMES_BY_MODULE)
