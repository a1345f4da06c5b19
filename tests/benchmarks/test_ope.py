from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.core import benchmarks
from benchmarks.ope import columns, extremes, measure_pair, section, summed_up
from benchmarks.ope_plot import draw
from benchmarks.ope_worlds import STUDIES, UNIFORM, Acting, Pair, Study, play, returns
from offline.ope.diagnostics import overlap
from offline.ope.ratios import session_log_weight

ONE_STEP, BOREDOM = STUDIES[0], STUDIES[1]


def test_the_largest_weight_by_hand() -> None:
    # Uniform on 4, then 3: a target with log-weights 1 apart shows one of 4 with at most
    # 1 / (1 + 3 / e), and one of 3 with at most 1 / (1 + 2 / e).
    target = Acting(UNIFORM.score, 1.0)
    expected = 4 / (1 + 3 / math.e) * 3 / (1 + 2 / math.e)
    assert Pair(UNIFORM, target, 1.0).largest_ratio(4, 2) == pytest.approx(expected)
    # Policies whose log-weights differ by 0.1 at most have ratios up to e^0.1 a slot.
    assert Pair(target, target, 0.1).largest_ratio(4, 2) == pytest.approx(math.exp(0.2))


@pytest.mark.parametrize("study", STUDIES[:3], ids=lambda study: study.name)
def test_no_weight_exceeds_what_is_declared(study: Study) -> None:
    for pair in study.pairs.values():
        played = play(study, pair, 100, seed=1)
        ratio = (played.columns["target_slots"] - played.columns["behaviour_slots"]).sum(1)
        simulator = study.simulator(1, 0)
        largest = pair.largest_ratio(simulator.num_candidates, simulator.slate_size)
        assert 1 < np.exp(ratio).max() < largest


def test_a_policy_judged_on_its_own_log_has_weights_of_1() -> None:
    target = BOREDOM.pairs["taste, then rests"].target
    log = columns(BOREDOM, play(BOREDOM, Pair(target, target, 0.0), 50, seed=1), seed=0)
    assert overlap(session_log_weight(log)[log.offsets[1:] - 1]).effective == pytest.approx(50)
    # What was logged is what `returns` plays: means within four standard errors.
    true = returns(BOREDOM, target, 2000, seed=2)
    mean = np.add.reduceat(log.reward, log.offsets[:-1]).mean()
    assert abs(mean - true.mean()) < 4 * true.std() / math.sqrt(50)


def test_parts_of_what_was_played_are_logs() -> None:
    played = play(BOREDOM, BOREDOM.pairs["uniform, then rests"], 6, seed=3)
    part = played.sessions(2, 3)
    first, last = played.offsets[2], played.offsets[5]
    assert part.offsets[0] == 0 and part.offsets[-1] == last - first
    np.testing.assert_array_equal(part.columns["reward"], played.columns["reward"][first:last])


def test_every_estimator_is_judged(tmp_path: Path) -> None:
    small = Study(ONE_STEP.name, ONE_STEP.world, ONE_STEP.pairs, 60, 1, 1.0)
    rows = measure_pair(small, "uniform, then taste", 3, 200, 0)
    names = "ips snips clipped dm dr switch_dr dr_os sips iips rips pi cascade_dr"
    assert [row["estimator"] for row in rows] == names.split()
    assert {row["estimator"] for row in rows if "bernstein" in row} == {
        "ips", "clipped", "sips", "rips"
    }  # fmt: skip
    draw(rows, tmp_path / "ope.png")
    assert (tmp_path / "ope.png").stat().st_size > 10_000
    text = section({"rows": rows, "logs": 3})
    assert text.count("\n| one step | uniform, then taste | 60, ") == 12
    assert "| dm° |" in text and "| dr |" in text


def test_logs_summed_up_by_hand() -> None:
    found = [
        {"value": 1.0, "t": (True, 0.5), "bootstrap": (True, 0.4)},
        {"value": 4.0, "t": (False, 1.5)},
    ]
    row = summed_up("ips", found, truth=2.0)
    assert row["bias"] == 0.5  # (-1 + 2) / 2
    assert row["rmse"] == pytest.approx(math.sqrt(2.5))
    assert row["bias_error"] == pytest.approx(1.5)  # 3 / sqrt(2) / sqrt(2)
    assert (row["t"], row["t_width"], row["bootstrap"]) == (0.5, 1.0, 1.0)
    assert "bernstein" not in row


def row(effective: float, holds: bool, **kinds: float) -> dict[str, object]:
    return {"effective": effective, "holds": holds, "logs": 9, "t": 0.95, "bootstrap": 0.95} | kinds


@pytest.mark.parametrize(
    ("t", "bernstein", "passes"),
    [(0.92, 0.95, True), (0.98, 1.0, True), (0.915, 1.0, False), (0.985, 1.0, False),
     (0.95, 0.949, False)],
)  # fmt: skip
def test_coverage_counts_where_it_must_hold(t: float, bernstein: float, passes: bool) -> None:
    rows = [
        row(100, True, t=t, bernstein=bernstein),
        row(99, True, t=0.5),
        row(500, False, bootstrap=0.1),
    ]
    goal = benchmarks()["ope"].rows[0].must
    assert goal is not None and goal.met(extremes(rows)) is passes
