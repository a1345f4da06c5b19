"""How many replicas follow from how many requests are in flight."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from ray.serve.config import AutoscalingPolicy

from serve.scaling import KeepInFlight, Places


def test_the_mean_is_over_time() -> None:
    now = [10.0]
    places = Places(lambda: now[0])
    for at, by in ((11.0, 1), (12.0, 2), (14.0, -3)):  # 0 for a second, 1 for one, 3 for two
        now[0] = at
        places.change(by)
    now[0] = 15.0
    assert places.mean() == (0 * 1 + 1 * 1 + 3 * 2 + 0 * 1) / 5
    assert places.mean() == 0.0  # no time has passed
    places.change(1)
    now[0] = 17.0
    assert places.mean() == 1.0 and places.count == 1


@pytest.mark.parametrize(
    ("told", "replicas", "expected"),
    [
        ({"a": 6.0}, 1, 3.0),  # 6 in flight, 2 for each
        ({"a": 1.0, "b": 1.0}, 2, 1.0),
        ({"a": 4.0, "b": 2.0}, 3, 4.5),  # the third has yet to tell: 3 * 3 / 2
        ({}, 2, 2.0),  # nobody has: leave it
    ],
)
def test_replicas_that_are_wanted(
    told: Mapping[str, float], replicas: int, expected: float
) -> None:
    metrics = {"in_flight": told} if told else {}
    context = SimpleNamespace(aggregated_metrics=metrics, current_num_replicas=replicas)
    assert KeepInFlight(2.0)(context) == (expected, {})


def test_the_policy_travels_without_our_packages() -> None:
    program = """
import pickle, sys
from types import SimpleNamespace
sys.modules["serve"] = None  # importing it fails
policy = pickle.loads(sys.stdin.buffer.read())
told = {"in_flight": {"a": 3.0}}
print(policy(2.0)(SimpleNamespace(aggregated_metrics=told, current_num_replicas=1)))
"""
    policy = AutoscalingPolicy(policy_function=KeepInFlight, policy_kwargs={"target": 2.0})
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=policy.get_serialized_policy_def(),
        capture_output=True,
        check=True,
    )
    assert found.stdout == b"(1.5, {})\n"
