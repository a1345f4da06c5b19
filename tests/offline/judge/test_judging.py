"""Estimates, comparisons and warnings of small logs, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithms.core.agent import Exploration
from offline.judge.diagnosis import Diagnosis, recommend
from offline.judge.estimates import Method, Outcome
from offline.judge.judging import Judgement, Request, judge
from offline.judge.report import as_json, conclusion, show
from offline.judge.target import Target, target_of
from offline.log import Log, LogError, Rows
from offline.ope import Refusal
from offline.ope.diagnostics import Overlap
from offline.ope.intervals import Interval
from tests.offline.judge.made import HEADER, by_score, logged, made


def target(name: str = "mine", exploration: Exploration = Exploration(0.0, 1.0)) -> Target:  # noqa: B008
    return target_of(by_score(1, exploration), HEADER, name)


def many(rewards: tuple[float, float, float], count: int = 300) -> Rows:
    """Sessions of one step in which a, b and c were shown equally often."""
    slates = [[n % 3] for n in range(count)]
    reward = np.array([rewards[n % 3] for n in range(count)], np.float32)
    return made([1] * count, slates, reward=reward)


def test_per_decision_by_hand(tmp_path: Path) -> None:
    # Weights of steps: c 3/6 / (1/3) = 1.5, then b 1 (1.5 so far); a 1/6 / (1/3) = 0.5.
    rows = made([2, 1], [[2], [1], [0]], reward=np.array([1, 2, 4], np.float32))
    log = logged(tmp_path, rows)
    found = judge(log, Request(target(), estimators=["pdis", "wpdis"], discount=0.5))
    # (1.5 * 1 + 0.5 * 1.5 * 2 + 0.5 * 4) / 2; normalised: (1.5 + 2) / 2 + 0.5 * 3 / 2.
    assert found.estimates["pdis"].value == pytest.approx(2.5)
    assert found.estimates["wpdis"].value == pytest.approx(1.75 + 0.75)
    assert found.logged.value == pytest.approx((1 + 1 + 4) / 2)
    assert found.recommendation.name is None  # two sessions say nothing
    assert "as 2 sessions of its own would" in found.recommendation.reason


def test_a_comparison_is_paired(tmp_path: Path) -> None:
    # Rewards 0, 1, 2 of a, b, c: by weights 1, 2, 3 of 6 8/6, uniformly 1, greedily 2.
    log = logged(tmp_path, many((0, 1, 2)))
    request = Request(target(), "logged", ["ips", "snips"])
    found = judge(log, request)
    assert found.estimates["ips"].value == pytest.approx(8 / 6, rel=1e-5)
    # A session's difference is (w - 1) r: 0 for a and b, 0.5 * 2 for c.
    difference = found.differences["ips"]
    assert difference.value == pytest.approx(1 / 3, rel=1e-5)
    half = 1.9679 * math.sqrt(2 / 9 * 300 / 299 / 300)
    assert difference.interval is not None
    assert difference.interval.low == pytest.approx(1 / 3 - half, rel=1e-3)
    assert found.verdict is not None and found.verdict.startswith("'mine' is better than what was")
    assert conclusion(request, found).splitlines()[-1] == found.verdict


def test_worse_and_cannot_tell(tmp_path: Path) -> None:
    log = logged(tmp_path, many((2, 1, 0)))
    uniform = target("uniform", Exploration(1.0, 0.0))
    worse = judge(log, Request(target(), uniform)).verdict
    assert worse is not None and worse.startswith("'mine' is worse than 'uniform': -0.33")
    same = judge(log, Request(target(), target("twin"))).verdict
    assert same is not None
    assert same.startswith("cannot tell whether 'mine' is better than 'twin': +0 a session [0, 0]")


def test_rounded_propensities_make_no_difference(tmp_path: Path) -> None:
    # All sessions have the same reward, so the interval of a difference is as small as it.
    slots = np.log(np.full((300, 1), 1 / 3 - 1e-7))
    rows = many((1, 1, 1)).replace(slot_log_propensities=slots.astype(np.float32))
    rows = rows.replace(log_propensity=rows["slot_log_propensities"][:, 0])
    uniform = target("uniform", Exploration(1.0, 0.0))
    found = judge(logged(tmp_path, rows), Request(uniform, "logged", ["ips"]))
    interval = found.differences["ips"].interval
    assert interval is not None and 0 < interval.low < 1e-6
    assert found.verdict is not None and found.verdict.startswith("cannot tell")


def test_sessions_of_one_step_and_of_several_have_their_own_estimators(tmp_path: Path) -> None:
    one = judge(logged(tmp_path / "one", many((0, 1, 2))), Request(target()))
    assert list(one.estimates) == ["ips", "snips", "clipped", "dm", "dr", "switch_dr", "dr_os"]
    slates = [[n % 3] for n in range(600)]
    several = judge(logged(tmp_path / "two", made([2] * 300, slates)), Request(target()))
    assert list(several.estimates) == ["pdis", "wis", "wpdis", "fqe", "sdr", "wdr"]


def test_all_estimators_give_numbers_or_sentences(tmp_path: Path) -> None:
    log = logged(tmp_path, many((0, 1, 2)))
    found = judge(log, Request(target(), estimators=["all"]))
    assert len(found.estimates) == 18
    assert all(each.value is not None for name, each in found.estimates.items() if name != "pi"
               and name not in ("iips", "rips", "cascade_dr"))  # fmt: skip
    # The reward is in no column of the response.
    sentence = found.estimates["rips"].refusal
    assert sentence is not None and sentence.startswith("'rips' cannot be computed: no column of")
    # A model is exact here: its predictions are the rewards 0, 1 and 2.
    assert found.estimates["dr"].value == pytest.approx(8 / 6, rel=1e-3)
    assert found.estimates["dm"].value == pytest.approx(8 / 6, rel=2e-2)


def test_models_alone_have_no_interval(tmp_path: Path) -> None:
    request = Request(target(), "logged", ["all"])
    found = judge(logged(tmp_path, many((0, 1, 2))), request)
    for name in ("dm", "fqe"):
        for each in (found.estimates[name], found.differences[name]):
            assert each.value is not None and each.interval is None
            assert each.refusal is not None and "the error of the model" in each.refusal
    assert found.others["dm"].value == pytest.approx(1.0)


def test_weights_of_nothing_are_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Greedily c; a and b were shown.
    log = logged(tmp_path, made([2] * 3, [[2], [1]] * 3))
    request = Request(target("greedy", Exploration()), estimators=["pdis", "wis", "ips", "snips"])
    show(request, "LOG", judge(log, request))
    lines = capsys.readouterr().out.splitlines()
    assert "weights of sessions: all 3 are 0, since the policy would have shown none of the" in (
        "\n".join(lines)
    )
    assert "nan" not in "\n".join(lines)
    (wis,) = [line for line in lines if line.startswith("wis: ")]
    assert "none of the logged sessions to its end" in wis
    # One sentence for all that say the same.
    assert [line for line in lines if "judges sessions of one step" in line] == [
        "ips, snips: judges sessions of one step, and 6 rows in 3 sessions are given; use one for "
        "sessions, such as 'pdis'"
    ]


def test_intervals(tmp_path: Path) -> None:
    log = logged(tmp_path, many((0, 1, 2)))

    def ends(method: Method) -> Interval:
        interval = judge(log, Request(target(), None, ["ips"], method)).estimates["ips"].interval
        assert interval is not None
        return interval

    t, narrow = ends(Method()), ends(Method("t", 0.5))
    assert t.low < narrow.low < narrow.high < t.high
    assert ends(Method("bootstrap")).method == "bootstrap"
    assert ends(Method("bootstrap")).width == pytest.approx(t.width, rel=0.1)
    safe = ends(Method("bernstein", 0.95, (0.0, 3.0)))
    assert safe.width > t.width and ends(Method("bernstein", 0.95, (0.0, 6.0))).width > safe.width


def test_bernsteins_difference_is_within_the_difference_of_the_bounds(tmp_path: Path) -> None:
    log = logged(tmp_path, many((0, 1, 2)))
    method = Method("bernstein", 0.95, (0.0, 3.0))
    found = judge(log, Request(target(), "logged", ["ips", "snips"], method))
    spread = math.sqrt(2 * (2 / 9 * 300 / 299) * math.log(80) / 300)
    half = spread + 7 * 6 * math.log(80) / (3 * 299)
    interval = found.differences["ips"].interval
    assert interval is not None and interval.width == pytest.approx(2 * half, rel=1e-4)
    refusal = found.estimates["snips"].refusal
    assert refusal is not None and "self-normalised" in refusal
    assert found.estimates["snips"].value is not None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("student",), r"the interval is 'student'; allowed are: t, bootstrap, bernstein"),
        (("t", 1.0), r"the confidence is 1\.0; it lies between 0 and 1"),
        (("bernstein",), r"needs --bounds LOW HIGH"),
        (("t", 0.95, (0.0, 1.0)), r"'bernstein', and it alone, needs --bounds"),
        (("bernstein", 0.95, (1.0, 0.0)), r"the bounds are 1 and 0; the lower one comes first"),
    ],
)
def test_methods_that_make_no_interval(settings: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Method(*settings)


def certain(tmp_path: Path) -> Log:
    zeros = np.zeros((2, 1), np.float32)
    rows = made(
        [1, 1],
        [[2], [1]],
        slot_log_propensities=zeros,
        epsilon=np.zeros(2),
        log_weights=np.array([[0, 0, 1], [0, 1, 0]], np.float32),
    )
    return logged(tmp_path, rows)


def test_a_log_without_exploration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"shown with certainty, .* 'mine' would show others in 58"):
        judge(certain(tmp_path), Request(target()))


def test_a_target_that_never_does_what_was_logged_is_refused(tmp_path: Path) -> None:
    log = logged(tmp_path, made([1, 1], [[0], [1]]))
    greedy = target("greedy", Exploration())
    with pytest.raises(Refusal, match="nothing of what was logged"):
        judge(log, Request(greedy, estimators=["ips"]))


def warned(tmp_path: Path, rows: Rows, words: str) -> bool:
    found: Judgement = judge(logged(tmp_path, rows), Request(target()))
    return any(words in warning for warning in found.warnings)


def test_what_the_log_lacks_is_said(tmp_path: Path) -> None:
    rows = many((0, 1, 2))
    assert not warned(tmp_path / "a", rows, "estimated")
    estimated = rows.replace(propensity_source=np.full(300, "estimated", object))
    assert warned(tmp_path / "b", estimated, "propensities of 100% of the rows are estimated")
    flags = np.arange(300) < 30
    cut = rows.replace(truncated=flags, terminated=~flags)
    assert warned(tmp_path / "c", cut, "30 of 300 sessions were cut")
    left = rows.replace(terminated=~flags)
    assert warned(tmp_path / "d", left, "30 sessions (30 rows) have no end")


def test_wrong_propensities_are_noticed(tmp_path: Path) -> None:
    # a, b and c were shown equally often, but are said to have had 0.6, 0.2 and 0.2.
    stated = np.array([0.6, 0.2, 0.2], np.float32)
    shown = np.arange(300) % 3
    slots = np.log(stated[shown])[:, None]
    rows = many((0, 1, 2)).replace(
        slot_log_propensities=slots,
        log_propensity=slots[:, 0],
        log_weights=np.tile(np.log(stated), (300, 1)),
        epsilon=np.zeros(300),
        temperature=np.ones(300),
    )
    assert warned(tmp_path / "a", rows, "items were not shown as often")
    # (1/6 / 0.6 + 2/6 / 0.2 + 3/6 / 0.2) / 3
    assert warned(tmp_path / "a2", rows, "the mean weight is 1.48 where 1 is expected")
    assert not warned(tmp_path / "b", many((0, 1, 2)), "the mean weight is")


def outcomes(**widths: float) -> dict[str, Outcome]:
    return {
        name: Outcome(0.0, Interval(-width / 2, width / 2, 0.95, "t"))
        for name, width in widths.items()
    }


def weights(effective: float = 500.0, largest: float = 0.01) -> Diagnosis:
    return Diagnosis(Overlap(1000, effective, (largest,), 0.1, 1.0, 0.01), None, None)


def test_recommendations() -> None:
    found = outcomes(pdis=3, wpdis=2, fqe=0.1, sdr=1, wdr=0.9)
    assert recommend(found, weights()).name == "sdr"
    assert recommend(found, weights(largest=0.2)).name == "wdr"
    assert recommend(found, weights(effective=99)).name is None
    noisy = recommend(outcomes(wpdis=2, sdr=2.5), weights())
    assert noisy.name == "wpdis" and "the model of sdr only adds noise" in noisy.reason
    assert recommend(outcomes(pdis=3, fqe=0.1), weights()).name == "pdis"
    assert recommend(outcomes(fqe=0.1), weights()).name is None
    assert (
        recommend(found, Diagnosis(None, "no weights at all", None)).reason == "no weights at all"
    )


def test_why_nothing_is_recommended() -> None:
    refused = {"dm": Outcome(1.0, None, "no"), "ips": Outcome(1.0, None, "outside the bounds")}
    assert recommend(refused, weights()).reason == "ips has no interval: outside the bounds"
    reason = recommend(outcomes(iips=1.0), weights()).reason
    assert reason.startswith("none of the estimators asked for uses the weights of whole sessions")


def test_everything_is_plain_data(tmp_path: Path) -> None:
    import json

    request = Request(target(), "logged")
    found = judge(logged(tmp_path, many((0, 1, 2))), request)
    data = json.loads(json.dumps(as_json(request, "LOG", found), allow_nan=False))
    assert data["rows"] == data["sessions"] == 300 and data["acting"] == "epsilon 0, temperature 1"
    assert data["estimates"]["dr"]["difference"]["interval"][0] > 0
    assert data["diagnostics"]["effective_sample_size"] == pytest.approx(
        300 * 36 / 3 / 14, rel=1e-5
    )
    assert data["arms"] == [
        {"arm": "", "policy": "random", "versions": 1, "rows": 300, "sessions": 300}
    ]
