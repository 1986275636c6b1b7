"""The web process: `uvicorn app.web:app`.

Importing this module does nothing; the server's look at `app` builds it (PEP 562). A test calls
`create_app` with settings of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from app.project import project
from app.settings import ROOT
from app.web import health, identity, signing_in
from oneoff import (
    CommandError,
    Config,
    ConfigurationError,
    TemporaryError,
    Unavailable,
    check_settings,
    load_config,
    load_settings,
)
from oneoff.integrations.asgi import (
    MaintenanceMiddleware,
    MaintenanceReader,
    RefusedStart,
    RequestIdMiddleware,
    open_health_checks,
    open_pooled_database,
)
from oneoff.integrations.process_logs import configure_logging

if TYPE_CHECKING:
    from starlette.requests import Request

    from oneoff.integrations.asgi import App

RETRY_AFTER = "5"
"""Seconds after which a caller may try again what a service could not answer."""

_log = structlog.get_logger(__name__)


def create_app(config: Config) -> App:
    """Build the application; nothing is connected before the server starts it.

    Raises:
        ConfigurationError: Every setting that is wrong, together.
    """
    check_settings(config, project)
    api = _api(config)
    # The outermost first: a refusal of the maintenance window has a request id too.
    return RequestIdMiddleware(
        MaintenanceMiddleware(api, reader=MaintenanceReader(config, project), exempt=("/health",)),
        quiet=("/health",),
    )


def _api(config: Config) -> FastAPI:
    pool_size = load_settings(project, config).database_pool_size

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with (
            open_pooled_database(config, project, service="web", pool_size=pool_size) as database,
            open_health_checks(config, project) as checks,
        ):
            yield {"database": database, "health": checks}

    api = FastAPI(
        title=project.name,
        lifespan=lifespan,
        # The pages that describe the interface are for those who write it.
        openapi_url="/openapi.json" if config.configured_environment == "development" else None,
    )
    api.include_router(health.router)
    api.include_router(identity.router)
    api.include_router(signing_in.router)
    for kind in (Unavailable, TemporaryError):
        api.add_exception_handler(kind, _answer_unavailable)
    return api


async def _answer_unavailable(_request: Request, exc: Exception) -> JSONResponse:
    """Tell the caller to come again, and the log why: the message names hosts."""
    if isinstance(exc, CommandError):
        _log.error("service.failed", error=exc.code, message=exc.message)
    return JSONResponse(
        {"detail": "a service is not available now"}, 503, headers={"Retry-After": RETRY_AFTER}
    )


def _for_server() -> App:
    """Build what a server runs: logs first, and an app that refuses where settings are wrong."""
    config = load_config(ROOT)
    configure_logging("web", config)
    try:
        return create_app(config)
    except ConfigurationError as exc:
        return RefusedStart(exc)


def __getattr__(name: str) -> App:
    """Build `app` once, when a server asks for it."""
    if name != "app":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    app = globals()["app"] = _for_server()
    return app
