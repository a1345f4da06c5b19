"""The peer: FastAPI and uvicorn as an engineer would put them around the same policy.

Requests and answers are pydantic models that FastAPI parses and validates, the policy
is asked with one line, and a line with the same content is appended to a file. No
sessions, signatures, experiments, deployments, limits, keys or metrics.

`RECSIM_BENCH_POLICY=DIR RECSIM_BENCH_LOG=FILE uvicorn --factory benchmarks.serve.peer:make`
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
import torch
from fastapi import FastAPI
from pydantic import BaseModel, Field

from algorithms.policy import Policy, Recommendation
from envs.simulator import Observation


class User(BaseModel):
    """Of interest evolution."""

    interests: list[float] = Field(min_length=20, max_length=20)


class Features(BaseModel):
    """Of a video."""

    features: list[float] = Field(min_length=20, max_length=20)


class Candidate(BaseModel):
    """A video."""

    id: str
    features: Features


class Request(BaseModel):
    """What is asked."""

    user_id: str = ""
    user: User
    candidates: list[Candidate] = Field(min_length=1, max_length=1000)
    slate_size: int = Field(ge=1, le=50)


class Shown(BaseModel):
    """One slot."""

    id: str
    score: float
    propensity: float


class Answer(BaseModel):
    """What is answered."""

    impression_id: str
    slate: list[Shown]
    propensity: float
    log_propensity: float
    policy: str
    policy_version: str


def make() -> FastAPI:
    """The app."""
    torch.set_num_threads(1)
    policy = Policy.load(os.environ["RECSIM_BENCH_POLICY"])
    log = os.open(Path(os.environ["RECSIM_BENCH_LOG"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/recommend")
    async def recommend(request: Request) -> Answer:
        observation = observe(policy, request)
        found = policy.recommend(observation, slate_size=request.slate_size)
        answer = answer_of(policy, request, found)
        os.write(log, line_of(policy, request, observation, found, answer))
        return answer

    return app


def observe(policy: Policy, request: Request) -> Observation:
    candidates = [candidate.features.features for candidate in request.candidates]
    return Observation(
        torch.tensor([request.user.interests]),
        torch.tensor([candidates]),
        torch.ones((1, len(candidates)), dtype=torch.bool),
        torch.zeros((1, request.slate_size, policy.spec.response_size)),
        torch.zeros((1, 1)),
        policy.history.initial(1),
    )


def answer_of(policy: Policy, request: Request, found: Recommendation) -> Answer:
    slate, slots = found.slates[0].tolist(), found.slot_log_probs[0].exp().tolist()
    scores = found.scores[0].tolist()
    return Answer(
        impression_id=uuid.uuid4().hex,
        slate=[
            Shown(id=request.candidates[position].id, score=scores[position], propensity=slot)
            for position, slot in zip(slate, slots, strict=True)
        ],
        propensity=float(found.log_prob.exp()),
        log_propensity=float(found.log_prob),
        policy=policy.algorithm,
        policy_version=str(policy.version),
    )


def line_of(
    policy: Policy, request: Request, seen: Observation, found: Recommendation, answer: Answer
) -> bytes:
    distribution: Any = found.distribution
    row = {
        "user_id": request.user_id,
        "time": time.time(),
        "impression_id": answer.impression_id,
        "user": request.user.interests,
        "candidate_ids": [candidate.id for candidate in request.candidates],
        "candidates": seen.candidates.ravel().tolist(),
        "history": seen.history[0].tolist(),
        "slate": found.slates[0].tolist(),
        "slate_ids": [shown.id for shown in answer.slate],
        "log_propensity": answer.log_propensity,
        "slot_log_propensities": found.slot_log_probs[0].tolist(),
        "log_weights": found.scores[0].tolist(),
        "epsilon": distribution.epsilon,
        "temperature": distribution.temperature,
        "greedy": None if distribution.greedy is None else distribution.greedy[0].tolist(),
        "propensity_source": "exact",
        "policy": answer.policy,
        "policy_version": answer.policy_version,
    }
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
