"""One endpoint over HTTP, asked by many users at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from envs.spec import FeatureSpec
from serve.simulating.messages import encode

TRIES = 20
"""Times that a request is sent to an endpoint that says it is busy."""

_JSON = {"content-type": "application/json"}


class EndpointError(ValueError):
    """An endpoint that cannot be used; the message is one sentence."""


class Endpoint:
    """Sends requests, at most so many at a time, and again where the endpoint is busy."""

    def __init__(self, http: httpx.AsyncClient, clients: int, batch: int) -> None:
        """With a client that knows the URL.

        Args:
            http: sends.
            clients: requests in flight at a time.
            batch: users in one request; 1 uses `/v1/recommend`.
        """
        self._http, self._batch = http, batch
        self._free = asyncio.Semaphore(clients)

    def limit(self, batch: int) -> None:
        """Send no larger batches than the endpoint allows."""
        self._batch = min(self._batch, batch)

    async def policy(self) -> dict[str, Any]:
        """What `GET /v1/policy` says.

        Raises:
            EndpointError: nothing answers there.
        """
        return await self._send("GET", "/v1/policy", None)

    async def recommend(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers in the order of the requests.

        Raises:
            EndpointError: one is refused, or nothing answers.
        """
        if self._batch == 1:
            alone = (self._send("POST", "/v1/recommend", request) for request in requests)
            return list(await asyncio.gather(*alone))
        groups = [
            {"requests": requests[first : first + self._batch]}
            for first in range(0, len(requests), self._batch)
        ]
        found = await asyncio.gather(
            *(self._send("POST", "/v1/recommend/batch", group) for group in groups)
        )
        return [answer for group in found for answer in group["answers"]]

    async def feedback(self, messages: Sequence[dict[str, Any]]) -> None:
        """Tell what came back for impressions.

        Raises:
            EndpointError: one is refused, or nothing answers.
        """
        await asyncio.gather(*(self._send("POST", "/v1/feedback", one) for one in messages))

    async def _send(self, method: str, path: str, message: Any) -> dict[str, Any]:
        body = None if message is None else encode(message)
        async with self._free:
            for _ in range(TRIES):
                try:
                    answer = await self._http.request(method, path, content=body, headers=_JSON)
                except httpx.HTTPError as error:
                    reason = str(error) or type(error).__name__
                    raise EndpointError(
                        f"{self._http.base_url} does not answer ({reason}); start it with "
                        "`python -m serve.run`, or name the URL that it printed"
                    ) from None
                if answer.status_code != 503:
                    break
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        return read_answer(
            f"{self._http.base_url}",
            path,
            answer,
            "no answer of an endpoint of ours; name the URL that serve.run printed",
        )


def read_answer(who: str, path: str, answer: httpx.Response, unsaid: str) -> dict[str, Any]:
    """What an endpoint answered.

    Args:
        who: is named as the endpoint.
        path: that was asked for.
        answer: of any kind.
        unsaid: stands in for the endpoint's own sentence where it gave none.

    Raises:
        EndpointError: it refused, or is no endpoint of ours.
    """
    try:
        found = orjson.loads(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict) or answer.status_code != 200:
        said = found.get("error") if isinstance(found, dict) else None
        raise EndpointError(f"{who} answered {path} with {answer.status_code}: {said or unsaid}")
    return found


def check_fit(
    described: dict[str, Any], spec: FeatureSpec, candidates: int, slate_size: int
) -> None:
    """Refuse an endpoint for other features than the world's, or with smaller limits.

    Args:
        described: what `GET /v1/policy` says.
        spec: of the world.
        candidates: N.
        slate_size: K.

    Raises:
        EndpointError: names what differs.
    """
    own = spec.to_json()
    for group in ("user", "candidate", "response"):
        names = [
            ", ".join(f"{feature['name']} ({feature['size']})" for feature in found)
            for found in (described["features"][group], own[group])
        ]
        if names[0] != names[1]:
            raise EndpointError(
                f"the endpoint expects the {group} features {names[0]}, but the world has "
                f"{names[1]}; choose the world that its policy was made for with --set env.name="
            )
    limits = described["limits"]
    for word, value, most in (
        ("candidates", candidates, limits["max_candidates"]),
        ("slots in a slate", slate_size, limits["max_slate"]),
    ):
        if value > most:
            raise EndpointError(
                f"the world has {value} {word}, but the endpoint allows {most}; raise its limits "
                "or lower the world's"
            )
