"""What stands before the routes: too many requests, the API key, sizes and times."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from serve.metrics import Metrics
from serve.problem import Refused
from serve.scaling import Places
from serve.settings import Limits
from serve.watching.access import AccessLog

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DOCS = "/docs"
_OPEN = ("/healthz", "/readyz", DOCS, "/openapi.json")
"""Paths that need no key, and that are answered also under load, with what is below `DOCS`."""


class Guard:
    """ASGI middleware: sheds load and asks for the API key, before anything is read."""

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        api_key: str | None,
        metrics: Metrics,
        access: AccessLog | None = None,
        places: Places | None = None,
    ) -> None:
        """Stand before an app."""
        self._app, self._limits, self._metrics, self._access = app, limits, metrics, access
        self._key = None if api_key is None else api_key.encode()
        self._places = Places() if places is None else places
        metrics.sample("recsim_in_flight", of=lambda: float(self._places.count))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on or refuse."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in _OPEN or path.startswith(f"{DOCS}/"):
            await self._app(scope, receive, send)
            return
        if not self._allowed(scope):
            await self._refuse(scope, send, 401, "X-API-Key is missing or wrong; send the key")
            return
        if self._places.count >= self._limits.max_in_flight:
            sentence = (
                f"{self._places.count} requests are being answered, as many as are allowed; "
                "try again soon"
            )
            await self._refuse(scope, send, 503, sentence, self._limits.retry_after)
            return
        self._places.change(1)
        try:
            # An answer is made without a pause, so that those who came meanwhile would be
            # counted one by one, and never be too many: first let all of them be counted.
            await asyncio.sleep(0)
            await self._app(scope, receive, send)
        finally:
            self._places.change(-1)

    def _allowed(self, scope: Scope) -> bool:
        if self._key is None:
            return True
        given = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
        return hmac.compare_digest(given, self._key)

    async def _refuse(
        self, scope: Scope, send: Send, status: int, sentence: str, after: int = 0
    ) -> None:
        route = route_of(scope["path"])
        self._metrics.add("recsim_requests", route, str(status))
        if self._access is not None and self._access.wants(status):
            self._access.note(route, status, error=sentence)
        headers = [(b"content-type", b"application/json")]
        if after:
            headers.append((b"retry-after", str(after).encode()))
        body = orjson.dumps({"error": sentence, "field": ""})
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def route_of(path: str) -> str:
    """A label for a path; few, whatever clients ask for."""
    known = ("/v1/recommend", "/v1/recommend/batch", "/v1/feedback", "/v1/policy")
    return path if path in known else "other"


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        Refused: it is not JSON by its header, too large, or too slow.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refused(
            f"the content type is '{kind[:60]}'; send application/json",
            field="content-type",
            status=415,
        )
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.max_body_bytes:
        raise _too_large(limits)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.max_body_bytes:
                    raise _too_large(limits)
                chunks.append(chunk)
    except TimeoutError:
        raise Refused(
            f"the body did not arrive within {limits.body_seconds:g} seconds; send it faster",
            status=408,
        ) from None
    except ClientDisconnect:
        raise Refused("the client went away", status=400) from None
    return b"".join(chunks)


def _too_large(limits: Limits) -> Refused:
    return Refused(
        f"the body is larger than {limits.max_body_bytes} bytes, the most that is allowed; "
        "send fewer candidates",
        status=413,
    )
