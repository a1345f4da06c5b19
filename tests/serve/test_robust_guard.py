from __future__ import annotations

import asyncio
from typing import Any

from serve.guard import Guard
from serve.metrics import Metrics
from serve.settings import Limits


def test_those_who_come_at_once_are_counted_before_any_is_answered() -> None:
    statuses: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Answers without a pause, as the endpoint does."""
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def rush() -> None:
        guard = Guard(app, limits=Limits(max_in_flight=64), api_key=None, metrics=Metrics())
        scope = {"type": "http", "path": "/v1/recommend", "method": "POST", "headers": []}
        await asyncio.gather(*(guard(scope, receive, send) for _ in range(100)))
        await guard(scope, receive, send)  # afterwards there is room again

    asyncio.run(rush())
    assert statuses == [503] * 36 + [200] * 65
