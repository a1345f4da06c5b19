"""Estimates of off-policy evaluation against the truth, over many logs.

Each pair of policies is played: the target for its true value, the logging policy
for many logs. Every estimator judges each log; bias, root mean squared error and
the coverage of its intervals are over logs. Writes `docs/images/ope.png`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row
from benchmarks.ope_plot import draw
from benchmarks.ope_worlds import STUDIES, Pair, Played, Study, play, returns
from offline.ope import ESTIMATORS, Contributions, Logged, Refusal, contributions_of, estimate
from offline.ope.diagnostics import overlap
from offline.ope.fitted import Choices, fitted_q
from offline.ope.intervals import empirical_bernstein, percentile, resampled, student_t
from offline.ope.ratios import session_log_weight
from offline.ope.slates import pseudo_inverse_weights

LOGS, QUICK_LOGS, TRUTH = 1000, 20, 100_000
CHUNK = 2500
RESAMPLES = 1000
ENOUGH = 100
"""Effective sample size from which on intervals must hold."""

PICTURE = ROOT / "docs" / "images" / "ope.png"

ALWAYS = ("ips", "snips", "dr", "pdis", "wis", "wpdis", "sdr", "wdr", "sips")
CASCADE = ("rips", "cascade_dr")
"""Estimators whose assumptions hold in every study, and those for users who look from the top."""

SAME = {"one step": ("logged", "pdis", "wis", "wpdis", "fqe", "sdr", "wdr")}
"""What is left out: in sessions of one step these are others of the table."""


def columns(study: Study, played: Played, seed: int) -> Logged:
    """One log as the estimators read it, with models cross-fitted on it."""
    given = dict(played.columns)
    inputs, mean = given.pop("inputs"), given.pop("mean_inputs")
    reward = given["reward"].astype(np.float64)

    def fit(taken: Any, means: Any, rewards: Any, offsets: Any) -> tuple[Any, Any]:
        choices = Choices(means[:, None].astype(np.float64), np.ones((len(rewards), 1)))
        return fitted_q(taken.astype(np.float64), choices, rewards, offsets, seed=seed, folds=2)

    given["q"], given["v"] = fit(inputs, mean, reward, played.offsets)
    if study.steps == 1:
        slot_inputs, slot_means = given.pop("slot_inputs"), given.pop("mean_slot_inputs")
        rows, slots, size = slot_inputs.shape
        slot_q, slot_v = fit(
            slot_inputs.reshape(-1, size),
            slot_means.reshape(-1, size),
            given["slot_reward"].astype(np.float64).ravel(),
            np.arange(0, rows * slots + 1, slots),
        )
        given["slot_q"], given["slot_v"] = slot_q.reshape(rows, slots), slot_v.reshape(rows, slots)
        given["pseudo_inverse"] = pseudo_inverse_weights(
            given.pop("shown"), given.pop("pairwise"), given.pop("marginals")
        )
    return Logged(offsets=played.offsets, **given)


def judged(log: Logged, names: list[str], truth: float, bounds: dict[str, float]) -> dict[str, Any]:
    """For each estimator its value, and for each interval (covers, width)."""
    found = {
        name: each
        for name, each in contributions_of(log, names).items()
        if isinstance(each, Contributions)
    }
    again = resampled(list(found.values()), RESAMPLES)
    result: dict[str, Any] = {}
    for (name, each), values in zip(found.items(), again, strict=True):
        intervals = {"t": student_t(each), "bootstrap": _or_none(percentile, values)}
        if name in bounds:
            intervals["bernstein"] = empirical_bernstein(each, 0.0, bounds[name])
        result[name] = {"value": estimate(each)} | {
            kind: (interval.low <= truth <= interval.high, interval.high - interval.low)
            for kind, interval in intervals.items()
            if interval is not None
        }
    return result


def _or_none(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Refusal:
        return None


def declared(study: Study, pair: Pair) -> dict[str, float]:
    """The largest contribution of a session, from 0, of estimators that have a bound."""
    if study.steps is None:
        return {}
    simulator = study.simulator(1, 0)
    ratio = pair.largest_ratio(simulator.num_candidates, simulator.slate_size)
    whole = study.reward * sum(ratio**step for step in range(1, study.steps + 1))
    return {
        "logged": study.reward * study.steps,
        "clipped": study.reward * math.sqrt(study.sessions),
        **dict.fromkeys(("ips", "sips", "rips", "pdis"), whole),
    }


def logs(study: Study, pair: str, count: int, seed: int) -> Iterator[Logged]:
    """So many logs, played side by side."""
    each = max(1, CHUNK // study.sessions)
    for first in range(0, count, each):
        here = min(each, count - first)
        played = play(study, study.pairs[pair], here * study.sessions, seed + 1 + first)
        for number in range(here):
            yield columns(study, played.sessions(number * study.sessions, study.sessions), seed)


def measure_pair(study: Study, pair: str, count: int, truth_sessions: int, seed: int) -> list[Any]:
    """A row for every estimator."""
    true = returns(study, study.pairs[pair].target, truth_sessions, seed + 10_000_000)
    bounds, found, sizes = declared(study, study.pairs[pair]), [], []
    names: list[str] = []
    for log in logs(study, pair, count, seed):
        if not names:
            fitting = contributions_of(log)
            names = [name for name in fitting if name not in SAME.get(study.name, ())]
        found.append(judged(log, names, float(true.mean()), bounds))
        sizes.append(overlap(session_log_weight(log)[log.offsets[1:] - 1]).effective)
    holds = ALWAYS + (CASCADE if study.steps == 1 else ())
    about = {
        "world": study.name,
        "pair": pair,
        "sessions": study.sessions,
        "logs": count,
        "truth": float(true.mean()),
        "truth_error": float(true.std(ddof=1)) / math.sqrt(len(true)),
        "effective": float(np.mean(sizes)),
    }
    return [
        {**about, **summed_up(name, [log[name] for log in found if name in log], about["truth"]),
         "holds": name in holds}
        for name in names
        if name != "logged"
    ]  # fmt: skip


def summed_up(name: str, found: list[dict[str, Any]], truth: float) -> dict[str, Any]:
    """Bias, its standard error, RMSE, and coverage and mean width of each interval."""
    errors = np.array([log["value"] for log in found]) - truth
    row: dict[str, Any] = {
        "estimator": name,
        "bias": float(errors.mean()),
        "bias_error": float(errors.std(ddof=1)) / math.sqrt(len(errors)),
        "rmse": float(np.sqrt((errors**2).mean())),
    }
    for kind in ("t", "bootstrap", "bernstein"):
        intervals = [log[kind] for log in found if kind in log]
        if intervals:
            row[kind] = float(np.mean([covers for covers, _ in intervals]))
            row[f"{kind}_width"] = float(np.mean([width for _, width in intervals]))
    return row


def measure(quick: bool) -> Numbers:
    """Every pair of every study; the picture only for whole runs."""
    torch.set_num_threads(1)
    logs_each = QUICK_LOGS if quick else LOGS
    sessions = TRUTH // 20 if quick else TRUTH
    rows = [
        row
        for number, study in enumerate(STUDIES)
        for place, pair in enumerate(study.pairs)
        for row in measure_pair(study, pair, logs_each, sessions, 1_000_000 * (2 * number + place))
    ]
    if not quick:
        draw(rows, PICTURE)
    return {"rows": rows, **extremes(rows)}


def extremes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst coverage where it must hold: assumptions hold, and enough sessions count."""
    held = [row for row in rows if row["holds"] and row["effective"] >= ENOUGH]
    both = [row[kind] for row in held for kind in ("t", "bootstrap") if kind in row]
    safe = [row["bernstein"] for row in held if "bernstein" in row]
    return {
        "least": min(both),
        "most": max(both),
        "bernstein_least": min(safe),
        "judged": len(held),
        "logs": rows[0]["logs"],
    }


def _in_words(numbers: Numbers) -> str:
    return (
        f"t and bootstrap {numbers['least']:.1%} to {numbers['most']:.1%}, Bernstein at least "
        f"{numbers['bernstein_least']:.1%} ({numbers['judged']} cases of {numbers['logs']:,} logs)"
    )


def _covers(numbers: Numbers) -> bool:
    within = 0.92 <= numbers["least"] and numbers["most"] <= 0.98
    return bool(within and numbers["bernstein_least"] >= 0.95)


def section(numbers: Numbers) -> str:
    """The table of all estimators."""
    lines = [
        "Off-policy estimates against the truth (100,000 sessions of the target): "
        f"{numbers['logs']:,} logs a pair. ESS is the mean effective sample size; ° marks "
        "estimators whose assumptions fail there. Bias is given ± two standard errors of logs and "
        "truth together. Coverage is that of 95 % intervals, with "
        "empirical Bernstein's width in units of t's.",
        "",
        "![bias and coverage of off-policy estimates](images/ope.png)",
        "",
        "<details><summary>The table</summary>",
        "",
        "| world | policies | sessions, ESS | truth | estimator | bias | RMSE | t | bootstrap | "
        "Bernstein, width |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row) for row in numbers["rows"]]
    return "\n".join([*lines, "", "</details>"])


def _line(row: dict[str, Any]) -> str:
    safe = "-"
    if "bernstein" in row:
        safe = f"{row['bernstein']:.1%}, {row['bernstein_width'] / row['t_width']:.1f}"
    mark = "" if row["holds"] else "°"
    error = 2 * math.hypot(row["bias_error"], row["truth_error"])
    return (
        f"| {row['world']} | {row['pair']} | {row['sessions']}, {row['effective']:.0f} | "
        f"{row['truth']:.4g} | {row['estimator']}{mark} | {row['bias']:+.2g} ± "
        f"{error:.1g} | {row['rmse']:.3g} | {row['t']:.1%} | "
        f"{row['bootstrap']:.1%} | {safe} |"
    )


assert set(ALWAYS + CASCADE) <= set(ESTIMATORS), "the table of assumptions names estimators"

BENCHMARKS = (
    Benchmark(
        "ope",
        "bias and coverage of off-policy estimates against the truth",
        measure,
        (
            Row(
                "coverage of 95 % intervals of off-policy estimates, ESS at least 100",
                _in_words,
                Goal("92 to 98 %, Bernstein at least 95 %", _covers),
            ),
        ),
        section=section,
    ),
)
