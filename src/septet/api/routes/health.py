"""Alive and ready: `/healthz` and `/readyz`.

`/healthz` answers 200 as long as the process serves requests. `/readyz` answers 200 once the model is loaded and until the server
drains, else 503 in the one error shape. Neither waits for the queue of requests.

    curl -i http://127.0.0.1:8765/readyz
"""

from __future__ import annotations

from fastapi import APIRouter

from septet.api.errors import ApiError
from septet.api.service import Service

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/readyz", summary="Can requests be answered now?")
    async def readyz() -> dict[str, str]:
        if not service.ready():
            why = "it is shutting down" if service.draining else "the model is still loading"
            raise ApiError(503, f"Not ready: {why}.", code="not_ready", headers={"Retry-After": "2"})
        return {"status": "ready"}

    return routes
