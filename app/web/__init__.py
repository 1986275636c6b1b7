"""The web process: `uvicorn app.web:app`.

Importing this module builds nothing. The first access to `app` builds the application (PEP 562).
Tests call `create_app` with their own settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from app.project import project
from app.settings import ROOT
from app.web import health, identity, signing_in
from app.web.body_limit import BodyLimitMiddleware
from oneoff import (
    CommandError,
    Config,
    ConfigurationError,
    DataError,
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
"""Seconds after which a client may retry a request that failed because of a service."""

_log = structlog.get_logger(__name__)


def create_app(config: Config) -> App:
    """Build the application. It connects to services when the server starts it.

    Raises:
        ConfigurationError: Settings are wrong; the error names all of them.
    """
    check_settings(config)
    api = _api(config)
    # The request id is outermost, so that a 503 during maintenance has one too.
    return RequestIdMiddleware(
        MaintenanceMiddleware(api, reader=MaintenanceReader(config), exempt=("/health",)),
        quiet=("/health",),
    )


def _api(config: Config) -> FastAPI:
    pool_size = load_settings(config).database_pool_size

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with (
            open_pooled_database(config, service="web", pool_size=pool_size) as database,
            open_health_checks(config) as checks,
        ):
            yield {"database": database, "health": checks}

    api = FastAPI(
        title=project.name,
        lifespan=lifespan,
        # The description of the API is only published in development.
        openapi_url="/openapi.json" if config.configured_environment == "development" else None,
    )
    api.include_router(health.router)
    api.include_router(identity.router)
    api.include_router(signing_in.router)
    api.add_middleware(BodyLimitMiddleware)
    for kind in (Unavailable, TemporaryError):
        api.add_exception_handler(kind, _answer_unavailable)
    api.add_exception_handler(RequestValidationError, _answer_invalid)
    api.add_exception_handler(DataError, _answer_bad_data)
    return api


async def _answer_unavailable(_request: Request, exc: Exception) -> JSONResponse:
    """Answer 503 with Retry-After. The reason is only logged, because it names hosts."""
    if isinstance(exc, CommandError):
        _log.error("service.failed", error=exc.code, message=exc.message)
    return JSONResponse(
        {"detail": "a service is not available now"}, 503, headers={"Retry-After": RETRY_AFTER}
    )


async def _answer_invalid(_request: Request, exc: Exception) -> JSONResponse:
    """Answer 422 with what is wrong, without the input: it can be a password."""
    errors = exc.errors() if isinstance(exc, RequestValidationError) else ()
    problems = [{"loc": error["loc"], "msg": error["msg"]} for error in errors]
    return JSONResponse({"detail": problems}, 422)


async def _answer_bad_data(_request: Request, exc: Exception) -> JSONResponse:
    """Answer 422 to input that a service or the database refused."""
    return JSONResponse({"detail": exc.message if isinstance(exc, DataError) else ""}, 422)


def _for_server() -> App:
    """Configure logging and build the application, or one that refuses to start."""
    config = load_config(ROOT, project)
    configure_logging("web", config)
    try:
        return create_app(config)
    except ConfigurationError as exc:
        return RefusedStart(exc)


def __getattr__(name: str) -> App:
    """Build `app` when it is first accessed."""
    if name != "app":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    app = globals()["app"] = _for_server()
    return app
