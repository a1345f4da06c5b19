"""The endpoint as a FastAPI app, which Ray Serve, uvicorn and tests can all run."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException as StarletteHTTPException

from serve import impressions
from serve.engine import Answered, Engine
from serve.guard import DOCS, Guard, read_body, route_of
from serve.keys import Keys
from serve.live import describe
from serve.metrics import Metrics
from serve.openapi import described
from serve.problem import Refused
from serve.scaling import Places
from serve.schemas import (
    Accepted,
    Answer,
    Answers,
    Problem,
    Schemas,
    Status,
    make_schemas,
)
from serve.watching.access import AccessLog, ids_of

logger = logging.getLogger(__name__)

Work = Callable[[bytes], tuple[dict[str, Any], Sequence[Answered]]]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The connection or the HTTP is at fault."},
    401: {"model": Problem, "description": "The API key is missing or wrong."},
    408: {"model": Problem, "description": "The request did not arrive in time."},
    413: {"model": Problem, "description": "The body is too large."},
    415: {"model": Problem, "description": "The body is not said to be JSON."},
    422: {"model": Problem, "description": "The request is wrong; one sentence says how."},
    503: {"model": Problem, "description": "Too busy or not ready; see Retry-After."},
}
_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": Problem, "description": "No policy is loaded yet."}
}


def make_app(
    engine: Engine,
    keys: Keys,
    *,
    api_key: str | None = None,
    start: Callable[[], None] | None = None,
    stop: Callable[[], None] | None = None,
    access: AccessLog | None = None,
    places: Places | None = None,
) -> FastAPI:
    """The endpoint.

    Args:
        engine: answers.
        keys: to verify impression ids with.
        api_key: that clients must send as `X-API-Key`; `None` for no key.
        start: called when the app begins to serve.
        stop: called when it has ended.
        access: notes answers, or those that went wrong.
        places: counts the requests that are held.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        if start is not None:
            start()
        yield
        if stop is not None:
            stop()

    limits = engine.settings.limits
    schemas = make_schemas(
        engine.header.spec,
        limits,
        catalogue=engine.settings.catalogue is not None,
        token=max(65_536, engine.tokens.longest(limits.max_slate)),
        impression=impressions.text_of(impressions.make(keys, 1, bytes(impressions.NONCE_BYTES))),
    )
    app = FastAPIOffline(
        title="rllib-recsim",
        version="1",
        lifespan=lifespan,
        docs_url=DOCS,
        redoc_url=None,
        static_url=f"{DOCS}/files",
    )
    app.add_middleware(
        Guard,
        limits=limits,
        api_key=api_key,
        metrics=engine.metrics,
        access=access,
        places=places,
    )
    _handle_errors(app, engine.metrics, access)
    _add_posts(app, Routes(engine, keys, schemas, access))
    _add_gets(app, engine, access)
    document = described(
        get_openapi(title=app.title, version=app.version, routes=app.routes),
        schemas,
        secured=api_key is not None,
    )
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


class Routes:
    """What the posts do with their bodies."""

    def __init__(
        self, engine: Engine, keys: Keys, schemas: Schemas, access: AccessLog | None = None
    ) -> None:
        """Of one endpoint."""
        self._engine, self._keys, self._schemas = engine, keys, schemas
        self._access = access
        self.limits = engine.settings.limits

    def recommend(self, body: bytes) -> tuple[dict[str, Any], Sequence[Answered]]:
        """Answer one request."""
        asked = self._engine.reader.ask(self._schemas.parse(self._schemas.recommend, body))
        found = self._engine.recommend([asked])
        return answer_of(found[0]), found

    def batch(self, body: bytes) -> tuple[dict[str, Any], Sequence[Answered]]:
        """Answer several requests, all or none."""
        parsed = self._schemas.parse(self._schemas.batch, body)
        asked = [
            self._engine.reader.ask(request, f"requests[{number}].")
            for number, request in enumerate(parsed.requests)
        ]
        found = self._engine.recommend(asked)
        return {"answers": [answer_of(one) for one in found]}, found

    def feedback(self, body: bytes) -> tuple[dict[str, Any], Sequence[Answered]]:
        """Take what came back for an impression."""
        parsed = self._schemas.parse(self._schemas.feedback, body)
        slots = impressions.slots_of(self._keys, parsed.impression_id)
        response = self._engine.reader.responses(parsed.responses, slots, "responses")
        self._engine.feedback(parsed.impression_id, response)
        return {"impression_id": parsed.impression_id, "accepted": True}, ()

    def endpoint(self, work: Work, route: str) -> Callable[[Request], Awaitable[Response]]:
        """A FastAPI endpoint that answers with what `work` makes of the body."""
        metrics = self._engine.metrics

        async def post(request: Request) -> Response:
            started = time.perf_counter()
            wrong: Refused | None = None
            found: Sequence[Answered] = ()
            body, trace = b"", ""
            try:
                body = await read_body(request, self.limits)
                plain, found = work(body)
                answer = _json(plain)
            except Refused as refused:
                wrong, answer = refused, problem(refused)
            except Exception:
                logger.exception("%s failed.", route)
                trace = traceback.format_exc()
                wrong = Refused("the server failed at this request; its log says more", status=500)
                answer = problem(wrong)
            seconds = time.perf_counter() - started
            metrics.add("recsim_requests", route, str(answer.status_code))
            metrics.time(route, seconds)
            access = self._access
            if access is not None and access.wants(answer.status_code, any_fallback(found)):
                access.note(
                    route,
                    answer.status_code,
                    ms=round(seconds * 1e3, 3),
                    **(said_of(found) if found else ids_of(body)),
                    **({} if wrong is None else {"field": wrong.field, "error": wrong.public}),
                    traceback=trace or next((one.trace for one in found if one.trace), ""),
                )
            return answer

        return post


def any_fallback(found: Sequence[Answered]) -> bool:
    """Whether the safe policy answered some of it."""
    return any(one.fallback for one in found)


def said_of(found: Sequence[Answered]) -> dict[str, list[str]]:
    """What the access log says of answers."""
    return {
        "impressions": [one.impression for one in found],
        "request_ids": [one.turn.asked.request_id for one in found if one.turn.asked.request_id],
        "arms": sorted({one.turn.arm.name for one in found}),
        "policies": sorted({f"{one.policy} {one.version}" for one in found}),
        "fallbacks": sorted({one.fallback for one in found if one.fallback}),
    }


def answer_of(found: Answered) -> dict[str, Any]:
    """An answer as plain data; see `schemas.Answer`."""
    drawn, ids = found.drawn, found.turn.asked.offer.ids
    total = float(drawn.slots.sum())
    return {
        "impression_id": found.impression,
        "slate": [
            {
                "id": ids[position],
                "score": float(drawn.log_weights[position]),
                "propensity": min(1.0, math.exp(slot)),
            }
            for position, slot in zip(drawn.slate.tolist(), drawn.slots.tolist(), strict=True)
        ],
        "propensity": min(1.0, math.exp(total)),
        "log_propensity": total,
        "policy": found.policy,
        "policy_version": found.version,
        "arm": found.turn.arm.name,
        "session": found.token,
        "step": found.turn.step,
    }


def problem(refused: Refused) -> Response:
    """A refusal as an answer."""
    after = {"Retry-After": str(refused.retry_after)} if refused.retry_after else None
    return _json(refused.to_json(), refused.status, after)


def _json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(data), status, headers, "application/json")


def _add_posts(app: FastAPI, routes: Routes) -> None:
    for path, work, model, summary in (
        ("/v1/recommend", routes.recommend, Answer, "Choose a slate for a user"),
        ("/v1/recommend/batch", routes.batch, Answers, "Choose slates for several users"),
        ("/v1/feedback", routes.feedback, Accepted, "Tell what came back for an impression"),
    ):
        app.add_api_route(
            path,
            routes.endpoint(work, path),
            methods=["POST"],
            response_model=model,
            responses=_PROBLEMS,
            summary=summary,
            operation_id=path.removeprefix("/v1/").replace("/", "_"),
        )


def _add_gets(app: FastAPI, engine: Engine, access: AccessLog | None) -> None:
    async def healthz() -> Response:
        return _json({"status": "alive"})

    async def readyz() -> Response:
        if engine.live is None:
            return problem(Refused("no policy is loaded yet", status=503, retry_after=1))
        return _json({"status": "ready"})

    async def policy() -> Response:
        if engine.live is None:
            return problem(Refused("no policy is loaded yet", status=503, retry_after=1))
        engine.metrics.add("recsim_requests", "/v1/policy", "200")
        if access is not None and access.wants(200):
            access.note("/v1/policy", 200)
        limits = engine.settings.limits
        allowed = {
            "max_candidates": limits.max_candidates,
            "max_slate": limits.max_slate,
            "max_batch": limits.max_batch,
            "max_epsilon": limits.max_epsilon,
        }
        return _json({**describe(engine.live, engine.header), "limits": allowed})

    refused: dict[int | str, dict[str, Any]] = {401: _PROBLEMS[401]}
    app.add_api_route("/healthz", healthz, response_model=Status, summary="Alive")
    app.add_api_route(
        "/readyz", readyz, response_model=Status, responses=_NOT_READY, summary="Ready to answer"
    )
    app.add_api_route(
        "/v1/policy",
        policy,
        response_model=dict[str, Any],
        responses={**_NOT_READY, **refused},
        summary="What answers, and what it expects",
    )


def _handle_errors(app: FastAPI, metrics: Metrics, access: AccessLog | None) -> None:
    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        known = "/v1/recommend, /v1/recommend/batch, /v1/feedback, /v1/policy, /healthz, /readyz"
        words = {
            404: f"there is nothing at {request.url.path[:100]}; there are: {known}",
            405: f"{request.url.path[:100]} does not take {request.method}; see /docs",
        }
        sentence = words.get(error.status_code, str(error.detail))
        route = route_of(request.url.path)
        metrics.add("recsim_requests", route, str(error.status_code))
        if access is not None and access.wants(error.status_code):
            access.note(route, error.status_code, error=sentence)
        answer = problem(Refused(sentence, status=error.status_code))
        for key, value in (error.headers or {}).items():
            answer.headers[key] = value
        return answer

    async def invalid(request: Request, error: Exception) -> Response:
        return problem(Refused("the request is not valid; see /docs"))

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(StarletteHTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
