"""Random logs for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.history import History, Term
from envs.spec import FeatureSpec, number, vector
from offline.log import Header, Rows

SPEC = FeatureSpec(
    user=(vector("taste", 3),),
    candidate=(vector("topic", 3), number("quality")),
    response=(number("click", 0.0, 1.0), number("watch_time")),
)
HISTORY = History(SPEC, (Term("watch_time"), Term("time")))
HEADER = Header(SPEC, HISTORY, reward="watch_time", clock="simulated")


def make_rows(
    sessions: int = 4, steps: int = 3, candidates: int = 5, slots: int = 2, seed: int = 0
) -> Rows:
    """Whole sessions, one after the other, with all columns."""
    random = np.random.default_rng(seed)
    count = sessions * steps

    def normal(*shape: int) -> Any:
        return random.standard_normal((count, *shape)).astype(np.float32)

    session = np.repeat(np.arange(sessions), steps)
    step = np.tile(np.arange(steps), sessions)
    slate = random.random((count, candidates)).argsort(axis=1)[:, :slots]
    ids = np.array([[f"d{r}-{n}" for n in range(candidates)] for r in range(count)], object)
    slot_log = np.log(1.0 / np.arange(candidates, candidates - slots, -1, dtype=np.float32))
    slot_log = np.tile(slot_log.astype(np.float32), (count, 1))
    words = {
        "session_id": [f"s{seed}-{number}" for number in session],
        "user_id": [f"u{number}" for number in session],
        "impression_id": [f"s{seed}-{a}-{b}" for a, b in zip(session, step, strict=True)],
        "catalogue": [""] * count,
        "propensity_source": ["exact"] * count,
        "policy": ["random"] * count,
        "policy_version": ["0"] * count,
        "arm": ['a, "b"'] * count,
    }
    return Rows(
        {
            "step": step,
            "time": step.astype(np.float64),
            "user": normal(3),
            "candidate_ids": ids,
            "candidates": normal(candidates, 4),
            "mask": np.ones((count, candidates), np.bool_),
            "pinned": np.full((count, slots), -1),
            "history": normal(2),
            "slate": slate,
            "slate_ids": np.take_along_axis(ids, slate, axis=1),
            "log_propensity": slot_log.sum(axis=1),
            "slot_log_propensities": slot_log,
            "log_weights": normal(candidates),
            "epsilon": np.full(count, 0.1),
            "temperature": np.zeros(count),
            "greedy": np.tile(np.arange(slots), (count, 1)),
            "response": normal(slots, 2),
            "reward": normal(),
            "terminated": step == steps - 1,
            "truncated": np.zeros(count, np.bool_),
            **{name: np.array(values, object) for name, values in words.items()},
        }
    )


def equal(first: Rows, second: Rows) -> bool:
    """Whether two sets of rows hold the same bits, but for what NaN is made of."""
    for name in second.columns:
        a, b = first[name], second[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind == "f":
            same = (a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
        else:
            same = a == b
        if not same.all():
            return False
    return True
