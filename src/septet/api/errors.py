"""One error shape for every answer that is not a success, the OpenAI one.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "messages[0].role", "code": null}}

    400 invalid_request_error   also what FastAPI would answer with 422
    404 invalid_request_error   an unknown path, or a model that is not served (code model_not_found)
    405, 413, 421               wrong method, body too large, a Host header that is not this server's
    500 server_error            our mistake; the log has the traceback under the request id
    503 overloaded              the queue is full or the server is draining; Retry-After says when to come back

What it is not: the errors of the command line, which are `septet.core.errors`.

    python -m pytest tests/api/test_errors.py
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from septet.api.app import RequestError
from septet.core.errors import SeptetError
from septet.infer.engine import ContextError, EngineBusy

__all__ = ["ApiError", "as_api_error", "body_of", "install", "respond"]

log = logging.getLogger("septet.api")


class ApiError(SeptetError):
    """An answer that is not a success: status, message for people, and what programs look at."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})
        self.type = type or (
            "invalid_request_error" if status < 500 else "overloaded" if status == 503 else "server_error"
        )


def body_of(error: ApiError) -> dict[str, Any]:
    """Return the JSON content of an error."""
    return {"error": {"message": str(error), "type": error.type, "param": error.param, "code": error.code}}


def respond(error: ApiError) -> Response:
    # ASCII JSON: a message may quote a lone surrogate that the client sent, which UTF-8 cannot carry
    content = json.dumps(body_of(error), allow_nan=False).encode("ascii")
    return Response(content, error.status, error.headers, media_type="application/json")


def as_api_error(error: BaseException) -> ApiError:
    """Return what a failure looks like from outside; what is our mistake is logged here and not shown."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, str(error), param=error.param, code=error.code)
    if isinstance(error, ContextError):
        return ApiError(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, EngineBusy):
        return ApiError(503, str(error), code="queue_full", headers={"Retry-After": "2"})
    log.error("a request failed", exc_info=error)
    return ApiError(500, "The server failed while it answered. Its log has the cause under this answer's x-request-id.")


def install(app: FastAPI) -> None:
    """Let every failure of `app` leave in the one shape."""
    app.add_exception_handler(ApiError, lambda request, error: respond(error))  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, lambda request, error: respond(_invalid(error)))  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, lambda request, error: respond(_http(request, error)))  # type: ignore[arg-type]
    app.add_exception_handler(RequestError, lambda request, error: respond(as_api_error(error)))
    app.add_exception_handler(Exception, lambda request, error: respond(as_api_error(error)))


def _http(request: Request, error: HTTPException) -> ApiError:
    path, method = request.url.path, request.method
    messages = {
        404: f"There is nothing at {path}. /v1/models, /v1/chat/completions, /healthz and /readyz are here.",
        405: f"{path} does not take {method}; it takes {(error.headers or {}).get('Allow', 'another method')}.",
    }
    fallback = error.detail or HTTPStatus(error.status_code).phrase
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    message = messages.get(error.status_code, str(fallback))
    return ApiError(error.status_code, message, code=codes.get(error.status_code), headers=error.headers)


def _invalid(error: RequestValidationError) -> ApiError:
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        return ApiError(
            400,
            f"The body is not JSON: {found[0]['ctx']['error']} at character {found[0]['loc'][-1]}.",
            code="invalid_json",
        )
    places: dict[str, str] = {}
    for item in found:
        place = _place(item["loc"])
        # a union reports every branch it tried; the first one speaks for the field
        places.setdefault(place, _say(item))
    shown = [f"'{place}': {text}" if place else text for place, text in list(places.items())[:4]]
    more = f" (and {len(places) - 4} more)" if len(places) > 4 else ""
    return ApiError(400, " ".join(shown) + more, param=next(iter(places), "") or None)


def _say(item: Mapping[str, Any]) -> str:
    if item["type"] == "missing":
        return "this field is required." if len(item["loc"]) > 1 else "a JSON body is required."
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    given = repr(item.get("input"))
    if item["type"] in ("model_attributes_type", "dict_type") and len(item["loc"]) <= 1:
        return "the body must be a JSON object sent with 'Content-Type: application/json'."
    return f"{item['msg'][:1].lower()}{item['msg'][1:]}; got {given if len(given) <= 80 else given[:77] + '...'}."


def _place(loc: Sequence[int | str]) -> str:
    """Return `messages[0].content` for ("body", "messages", 0, "content", "str")."""
    text = ""
    for part in loc[1:]:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part[:1].islower() and "[" not in part and part not in ("str", "list", "constrained-str"):
            text += f".{part}" if text else part
    return text
