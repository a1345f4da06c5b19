"""A policy and logs small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from algorithms.core.agent import Agent, Decision, Exploration
from algorithms.policy import Policy
from envs.history import History, Term
from envs.simulator import Observation
from envs.spec import FeatureSpec, number
from offline.log import Header, Log, LogWriter, Rows, open_log

SPEC = FeatureSpec(
    user=(number("age"),),
    candidate=(number("score"),),
    response=(number("click", 0.0, 1.0), number("watched")),
)
HISTORY = History(SPEC, (Term("click"),))
HEADER = Header(SPEC, HISTORY, reward="clicks", clock="simulated")


class ByScore(Agent):
    """Log-weights are the candidates' score, plus the history's clicks for the first one."""

    name = "by_score"

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        weights = observation.candidates[:, :, 0].clone()
        if observation.history.shape[1]:
            weights[:, 0] += observation.history[:, 0]
        return Decision(weights, None, {})


def by_score(
    slots: int,
    exploration: Exploration = Exploration(0.0, 1.0),  # noqa: B008  # frozen
    history: History | None = None,
    spec: FeatureSpec = SPEC,
) -> Policy:
    remembered = History(spec, ()) if history is None else history
    return Policy(ByScore(spec, remembered, slots, {}), exploration=exploration)


def made(lengths: list[int], slates: list[list[int]], **columns: Any) -> Rows:
    """Sessions of three candidates with the scores log 1, log 2 and log 3, from a uniform log."""
    count, slots = len(slates), len(slates[0])
    scores = np.log(np.array([1, 2, 3], np.float32))
    slot_log = -np.log(np.arange(3, 3 - slots, -1, dtype=np.float32))
    session = np.repeat([f"s{n}" for n in range(len(lengths))], lengths).astype(object)
    step = np.concatenate([np.arange(length) for length in lengths])
    rows: dict[str, Any] = {
        "session_id": session,
        "user_id": session,
        "step": step,
        "time": step.astype(np.float64),
        "impression_id": np.array([f"i{n}" for n in range(count)], object),
        "user": np.zeros((count, 1), np.float32),
        "candidate_ids": np.tile(np.array(["a", "b", "c"], object), (count, 1)),
        "candidates": np.tile(scores[:, None], (count, 1, 1)),
        "catalogue": np.full(count, "", object),
        "mask": np.ones((count, 3), np.bool_),
        "pinned": np.full((count, slots), -1),
        "history": np.zeros((count, 1), np.float32),
        "slate": np.array(slates),
        "slot_log_propensities": np.tile(slot_log, (count, 1)),
        "log_weights": np.zeros((count, 3), np.float32),
        "epsilon": np.ones(count),
        "temperature": np.zeros(count),
        "greedy": np.full((count, slots), -1),
        "propensity_source": np.full(count, "exact", object),
        "response": np.zeros((count, slots, 2), np.float32),
        "reward": np.zeros(count, np.float32),
        "terminated": step == np.repeat(lengths, lengths) - 1,
        "truncated": np.zeros(count, np.bool_),
        "policy": np.full(count, "random", object),
        "policy_version": np.full(count, "0", object),
        "arm": np.full(count, "", object),
    }
    rows |= columns
    rows.setdefault("log_propensity", rows["slot_log_propensities"].sum(axis=1))
    rows["slate_ids"] = np.take_along_axis(rows["candidate_ids"], rows["slate"], axis=1)
    return Rows(rows)


def logged(folder: Path, rows: Rows, header: Header = HEADER) -> Log:
    with LogWriter(folder, header) as writer:
        writer.write(rows)
    return open_log(folder)
