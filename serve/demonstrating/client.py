"""The endpoint as a page asks it: one request at a time, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from serve.simulating.client import EndpointError, read_answer
from serve.simulating.messages import encode

TIMEOUT_SECONDS = 10.0


class Client:
    """Asks one endpoint."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """With the endpoint's address, and its API key if it has one."""
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"content-type": "application/json"} | ({"X-API-Key": key} if key else {}),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )

    def policy(self) -> dict[str, Any]:
        """What answers, and what it expects.

        Raises:
            EndpointError: nothing answers there, or it refuses.
        """
        return self._send("GET", "/v1/policy", None)

    def recommend(self, request: dict[str, Any]) -> dict[str, Any]:
        """An answer.

        Raises:
            EndpointError: nothing answers there, or it refuses.
        """
        return self._send("POST", "/v1/recommend", request)

    def feedback(self, impression: str, responses: list[dict[str, Any]]) -> None:
        """Tell what came back for an impression.

        Raises:
            EndpointError: nothing answers there, or it refuses.
        """
        message = {"impression_id": impression, "responses": responses}
        self._send("POST", "/v1/feedback", message)

    def _send(self, method: str, path: str, message: Any) -> dict[str, Any]:
        body = None if message is None else encode(message)
        try:
            answer = self._http.request(method, path, content=body)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise EndpointError(
                f"the endpoint at {self.url} does not answer ({reason}); try again, or start the "
                "demo again"
            ) from None
        unsaid = "it is busy, or no endpoint of ours; try again"
        return read_answer("the endpoint", path, answer, unsaid)


@dataclass
class Conversation:
    """One session with the endpoint: the token carried along, responses with the next request.

    Attributes:
        client: asks.
        answer: the last one; `None` while one is owed.
        answers: how many there were.
        ended: whether the last responses were sent.
    """

    client: Client
    answer: dict[str, Any] | None = None
    answers: int = 0
    ended: bool = False
    _last: dict[str, Any] | None = field(default=None, repr=False)
    _responses: list[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def token(self) -> str:
        """Of the session; empty before the first answer."""
        return "" if self._last is None else str(self._last["session"])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request with the token and what came back for the slate before.

        Raises:
            EndpointError: it failed; the same can be sent again.
        """
        if self._last is not None:
            request = {**request, "session": self.token, "responses": self._responses}
        self.answer = self._last = self.client.recommend(request)
        self.answers += 1
        return self.answer

    def respond(self, responses: list[dict[str, Any]]) -> None:
        """Keep what came back, for the next request."""
        self._responses, self.answer = responses, None

    def end(self) -> None:
        """Send the last responses, which no request follows.

        Raises:
            EndpointError: it failed; the same can be sent again.
        """
        if self._last is not None and self._responses is not None:
            self.client.feedback(self._last["impression_id"], self._responses)
        self.ended = True
