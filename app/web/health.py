"""What a platform's probes ask: is the process alive, can it serve requests, has it started.

The answers name services and states, never hosts: anybody may ask. The log has the details.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from oneoff.integrations.asgi import HealthChecks, is_ready

router = APIRouter(prefix="/health", include_in_schema=False)


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer while the event loop runs, whatever the services do: a restart cures none of them."""
    return {"status": "up"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Answer 200 when requests can be served, else 503, with the state of each service."""
    checks: HealthChecks = request.state.health
    found = await checks.current()
    states = [{"service": check.service, "status": check.health.value} for check in found]
    return _answer(states, good=is_ready(found))


@router.get("/startup")
async def startup(request: Request) -> JSONResponse:
    """Answer 503 until the database was at head for the first time, 200 ever after."""
    checks: HealthChecks = request.state.health
    return _answer(None, good=await checks.has_started())


def _answer(checks: list[dict[str, str]] | None, *, good: bool) -> JSONResponse:
    body = {"status": "up" if good else "down"} | ({} if checks is None else {"checks": checks})
    # A proxy that kept an answer would lie for a while.
    return JSONResponse(body, 200 if good else 503, headers={"Cache-Control": "no-store"})
