from __future__ import annotations

import asyncio
import json
from typing import Any

from offline.log.schema import Header
from serve.ingress import make_app
from serve.settings import Limits, Settings
from tests.serve.conftest import KEYS, Endpoint, request_of


class Client:
    """A request to an ASGI app whose body arrives when told."""

    def __init__(self, app: Any, body: bytes, path: str = "/v1/recommend") -> None:
        self.arrives = asyncio.Event()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self._sent = body
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("test", 1),
            "root_path": "",
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.arrives.wait()
        return {"type": "http.request", "body": self._sent, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")


def test_more_than_the_limit_get_503_and_room_comes_back(
    endpoint: Endpoint, header: Header
) -> None:
    settings = Settings(limits=Limits(max_in_flight=2, retry_after=7))
    engine = endpoint.engine(settings=settings)
    app = make_app(engine, KEYS)
    body = json.dumps(request_of(header)).encode()

    async def play() -> None:
        waiting = [Client(app, body), Client(app, body)]
        await asyncio.sleep(0)  # both have begun
        third = Client(app, body)
        await third.task
        assert (third.status, third.headers[b"retry-after"]) == (503, b"7")
        assert json.loads(third.body)["error"].startswith("2 requests are being answered, as many")
        health = Client(app, b"", "/healthz")  # answered under load, if only to say 405
        health.arrives.set()
        await health.task
        assert health.status == 405
        for one in waiting:
            one.arrives.set()
            await one.task
            assert one.status == 200
        after = Client(app, body)
        after.arrives.set()
        await after.task
        assert after.status == 200

    asyncio.run(play())
    assert engine.metrics.values["recsim_requests", ("/v1/recommend", "503")] == 1
    assert engine.metrics.values["recsim_requests", ("/v1/recommend", "200")] == 3
    assert len(endpoint.lines()) == 3


def test_a_body_that_does_not_arrive_ends_in_408(endpoint: Endpoint) -> None:
    settings = Settings(limits=Limits(body_seconds=0.02))
    app = make_app(endpoint.engine(settings=settings), KEYS)

    async def play() -> None:
        slow = Client(app, b"{}")
        await slow.task
        assert slow.status == 408
        assert json.loads(slow.body)["error"] == (
            "the body did not arrive within 0.02 seconds; send it faster"
        )

    asyncio.run(play())
