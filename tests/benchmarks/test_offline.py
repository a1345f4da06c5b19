"""Rows of what is learned from logs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.core import benchmarks
from benchmarks.offline import learned
from benchmarks.table import render


def numbers(worst: float, seconds: float) -> dict[str, Any]:
    return {
        "seeds": [0, 1, 2],
        "returns": [worst, worst + 1.0, worst + 2.0],
        "worst_return": worst,
        "most_cpu_seconds": seconds,
        "logged_return": 99.0,
    }


@pytest.mark.parametrize(
    ("worst", "seconds", "must", "aim"),
    [
        (221.0, 60.0, True, True),
        (220.9, 60.0, True, False),
        (214.9, 60.0, False, False),
        (221.0, 60.1, False, False),
    ],
)
def test_both_learners_must_be_good_and_quick(
    worst: float, seconds: float, must: bool, aim: bool
) -> None:
    slateq, dqn = benchmarks()["offline_lts"].rows
    found = {"slateq": numbers(worst, seconds), "dqn": numbers(999.0, 1.0)}
    assert slateq.must is not None and slateq.must.met(found) is must
    assert slateq.aim is not None and slateq.aim.met(found) is aim
    assert dqn.aim is not None and dqn.aim.met(found)


def test_the_worst_seed_stands_in_the_table() -> None:
    entry = {"numbers": numbers(246.0, 44.0), "other_load": 0.0, "date": "2026-01-01"}
    machine = {"cpu": "a", "cores": 2, "memory_gb": 1, "versions": {}}
    found = render(benchmarks(), {"offline_random": {**entry, "machine": machine}})
    assert "246.0 (worst of 3 seeds, 246.0 to 248.0; the log's sessions 99.0)" in found
    assert "| 245 | 270 |" in found and "| yes |" in found


def test_a_command_that_fails_says_why(tmp_path: Any) -> None:
    with pytest.raises(RuntimeError, match=r"status 2: .*matches anything"):
        learned("slateq", tmp_path / "nothing", None, quick=True)
