"""How far a bound log can speak for a target: numbers, warnings, and whom to believe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from offline.judge.binding import Bound
from offline.judge.estimates import MODEL_ALONE, SLATES, Outcome
from offline.ope import Logged, Refusal
from offline.ope.diagnostics import Calibration, Overlap, calibration, overlap
from offline.ope.ratios import session_log_weight

ENOUGH = 100
"""Effective sample size from which on intervals were checked against the truth."""

UNEVEN = 0.05
"""Share of the weights in a single session from which on normalised weights are safer."""

_STRAYS = 3.0
_ILL = 4.5
_VISIBLE = 0.01
_SAME = 1e-6
_ROUNDED = 1e-3

_WITH_MODEL, _WITHOUT = ("dr", "sdr"), ("snips", "wpdis")
_UNEVEN = ("wdr", "snips", "wpdis")
_REST = ("wdr", "dr", "sdr", "wis", "ips", "pdis", "sips")


@dataclass(frozen=True)
class Diagnosis:
    """What is known of the weights of one target.

    Attributes:
        weights: of whole sessions; `None` where there are none.
        refusal: why there are none.
        calibration: of the log's own propensities in the first slot, where they are known
            for all candidates.
    """

    weights: Overlap | None
    refusal: str | None
    calibration: Calibration | None

    def to_json(self) -> dict[str, Any]:
        """Plain data; what cannot be computed is `None`."""
        weights = self.weights
        stated = self.calibration
        return {
            "effective_sample_size": None if weights is None else weights.effective,
            "largest_weights": None if weights is None else list(weights.largest),
            "top_share": None if weights is None else _finite(weights.top_share),
            "mean_weight": None if weights is None else _finite(weights.mean),
            "mean_weight_error": None if weights is None else _finite(weights.mean_error),
            "refusal": self.refusal,
            "calibration": None
            if stated is None
            else {
                "stated": stated.stated.tolist(),
                "observed": stated.observed.tolist(),
                "count": stated.count.tolist(),
                "error": stated.error,
                "worst_in_standard_errors": _finite(stated.worst),
            },
        }


def diagnose(bound: Bound, log: Logged) -> Diagnosis:
    """Look at the weights of whole sessions, and at the log's propensities."""
    try:
        weights = overlap(session_log_weight(log)[log.offsets[1:] - 1])
        refusal = None
    except Refusal as refused:
        weights, refusal = None, str(refused)
    return Diagnosis(weights, refusal, _calibration(bound))


def _calibration(bound: Bound) -> Calibration | None:
    if bound.stated is None:
        return None
    several = np.isfinite(bound.stated.chance).sum(1) > 1
    stated, shown = bound.stated.chance[several], bound.stated.shown[several]
    if not len(stated):
        return None
    eligible = np.isfinite(stated)
    hit = np.arange(stated.shape[1]) == shown[:, None]
    chances = stated[eligible]
    if np.ptp(chances) < _SAME:
        return None  # one bin, in which stated and observed shares agree whatever was shown
    return calibration(chances, hit[eligible])


@dataclass(frozen=True)
class Recommendation:
    """Which estimate to believe.

    Attributes:
        name: of the estimator; `None` for none of them.
        reason: why.
    """

    name: str | None
    reason: str


def recommend(found: Mapping[str, Outcome], diagnosis: Diagnosis) -> Recommendation:
    """The estimator to believe, among those that gave an interval.

    By rule and not by the narrowest interval of all, which would be too narrow.
    """
    weights = diagnosis.weights
    if weights is None:
        return Recommendation(None, diagnosis.refusal or "there are no weights")
    if weights.effective < ENOUGH:
        return Recommendation(
            None,
            f"the log says as much about this policy as {weights.effective:.0f} sessions of its "
            f"own would, and intervals hold from about {ENOUGH} on; log more sessions, or judge a "
            "policy nearer to the log",
        )
    given = {name: each.interval for name, each in found.items() if each.interval is not None}

    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in given), None)

    uneven = bool(weights.largest) and weights.largest[0] > UNEVEN
    if uneven and (name := first(_UNEVEN)) is not None:
        return Recommendation(name, "few sessions have much of the weight, so it is normalised")
    model, plain = first(_WITH_MODEL), first(_WITHOUT)
    if model is not None and (plain is None or given[model].width <= given[plain].width):
        return Recommendation(model, "unbiased, with a model that takes noise away")
    if plain is not None:
        what = "" if model is None else f"; the model of {model} only adds noise here"
        return Recommendation(plain, f"its weights are normalised{what}")
    if (name := first(_REST)) is not None:
        return Recommendation(name, "the best of those asked for that use weights")
    for name, each in found.items():
        if name in (*_WITH_MODEL, *_WITHOUT, *_REST) and each.refusal is not None:
            return Recommendation(None, f"{name} has no interval: {each.refusal}")
    return Recommendation(
        None,
        "none of the estimators asked for uses the weights of whole sessions, and what the others "
        "assume is not known to hold; ask for one such as 'dr' or 'sdr'",
    )


def warnings_of(
    bound: Bound,
    diagnosis: Diagnosis,
    found: Mapping[str, Outcome],
    recommendation: Recommendation,
) -> list[str]:
    """Plain sentences on what may be wrong."""
    warnings = _of_log(bound)
    weights = diagnosis.weights
    if weights is not None and abs(weights.mean - 1) > _STRAYS * weights.mean_error + _ROUNDED:
        warnings.append(
            f"the mean weight is {weights.mean:.3g} where 1 is expected (standard error "
            f"{weights.mean_error:.2g}): the logged propensities are wrong, the log never shows "
            "some of what the policy would, or so seldom that this log happens not to hold it"
        )
    stated = diagnosis.calibration
    if stated is not None and stated.worst > _ILL and stated.error > _VISIBLE:
        warnings.append(
            "items were not shown as often as the logged propensities say (mean distance "
            f"{stated.error:.3f}), so the propensities are wrong"
        )
    warnings += _outside(found, recommendation)
    return warnings


def _of_log(bound: Bound) -> list[str]:
    counts, warnings = bound.counts, []
    sessions = len(bound.offsets) - 1
    if "estimated" in counts.sources:
        warnings.append(
            f"the propensities of {counts.sources['estimated'] / counts.rows:.0%} of the rows are "
            "estimated, and intervals do not hold the error of that"
        )
    if counts.open_sessions:
        warnings.append(
            f"{counts.open_sessions:,} sessions ({counts.open_rows:,} rows) have no end in the log "
            "and are left out; where these are the long ones, the value is too low"
        )
    if 0 < counts.truncated < sessions:
        warnings.append(
            f"{counts.truncated:,} of {sessions:,} sessions were cut; what is judged is the "
            "reward up to there"
        )
    if bound.stated is not None and bound.stated.mismatch > 0:
        warnings.append(
            f"in {bound.stated.mismatch:.1%} of the rows looked at, the propensity is not that of "
            "the logged distribution; one of the two is wrong"
        )
    return warnings


def _outside(found: Mapping[str, Outcome], recommendation: Recommendation) -> list[str]:
    """Estimates that rest on more than weights, and differ from the one to believe."""
    if recommendation.name is None:
        return []
    trusted = found[recommendation.name].interval
    assert trusted is not None, "only estimates with an interval are recommended"
    names = [
        name
        for name in (*MODEL_ALONE, *SLATES)
        if name in found
        and (value := found[name].value) is not None
        and not trusted.low <= value <= trusted.high
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)}: outside the interval of {recommendation.name}, so what they assume "
        "(a model, or how users look at slates) does not hold here"
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
