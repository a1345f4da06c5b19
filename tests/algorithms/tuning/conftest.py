from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from algorithms.tuning.plan import Plan, load_plan

TINY = {
    "train.env_steps": 900,
    "train.users": 10,
    "train.fragment": 10,
    "train.checkpoint_every": 900,
    "linucb.stagger_steps": 0,
    "evaluate.users": 20,
    "evaluate.backend": "torch",
    "tune.users": 20,
}


def words(values: dict[str, object]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def tiny(**values: object) -> Plan:
    """A search for LinUCB on interest evolution that takes moments; more keys by name."""
    more = {key.replace("__", "."): value for key, value in values.items()}
    return load_plan("linucb", None, words({**TINY, **more}))


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Makes plans; see `tiny`."""
    return tiny
