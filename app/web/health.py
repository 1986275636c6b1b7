"""The health checks for a platform: liveness, readiness and startup.

They are public, so the answers contain services and states but no hosts. The log has the details.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from oneoff.integrations.asgi import HealthChecks, is_ready

router = APIRouter(prefix="/health", include_in_schema=False)


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer 200 while the event loop runs.

    Services are not checked, because a restart of this process would not fix them.
    """
    return {"status": "up"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Answer 200 if requests can be served, else 503; return the state of each service."""
    checks: HealthChecks = request.state.health
    found = await checks.current()
    states = [{"service": check.service, "status": check.health.value} for check in found]
    return _answer(states, good=is_ready(found))


@router.get("/startup")
async def startup(request: Request) -> JSONResponse:
    """Answer 503 until the database is at head for the first time, then 200."""
    checks: HealthChecks = request.state.health
    return _answer(None, good=await checks.has_started())


def _answer(checks: list[dict[str, str]] | None, *, good: bool) -> JSONResponse:
    body = {"status": "up" if good else "down"} | ({} if checks is None else {"checks": checks})
    # A cached answer would be out of date.
    return JSONResponse(body, 200 if good else 503, headers={"Cache-Control": "no-store"})
