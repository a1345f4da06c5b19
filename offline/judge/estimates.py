"""Estimates of a bound log: which are made, with what interval, and against what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from offline.judge.binding import Bound
from offline.log.rows import Array
from offline.ope import (
    ESTIMATORS,
    Contributions,
    Estimator,
    Logged,
    Refusal,
    estimate,
    estimator,
)
from offline.ope.intervals import Interval, bootstrap, empirical_bernstein, student_t
from offline.ope.linear import linear_fitted_q
from offline.ope.ragged import Floats

Kind = Literal["t", "bootstrap", "bernstein"]
KINDS: tuple[Kind, ...] = ("t", "bootstrap", "bernstein")

ONE_STEP = ("ips", "snips", "clipped", "dm", "dr", "switch_dr", "dr_os")
SLATES = ("iips", "rips", "pi", "cascade_dr")
SESSIONS = ("pdis", "wis", "wpdis", "fqe", "sdr", "wdr")

MODEL_ALONE = ("dm", "fqe")
"""Estimators without an interval: it would leave out the error of the fit, which is most of it."""

NO_INTERVAL = "no interval, since one over sessions would leave out the error of the model"


@dataclass(frozen=True)
class Method:
    """How intervals are made.

    Attributes:
        kind: of interval.
        level: of confidence.
        bounds: what a session contributes at least and at most, for `bernstein`.

    Raises:
        ValueError: a kind that there is not, a level outside (0, 1), missing or needless bounds.
    """

    kind: Kind = "t"
    level: float = 0.95
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no interval."""
        if self.kind not in KINDS:
            raise ValueError(f"the interval is '{self.kind}'; allowed are: {', '.join(KINDS)}")
        if not 0 < self.level < 1:
            raise ValueError(
                f"the confidence is {self.level}; it lies between 0 and 1, such as 0.95"
            )
        if (self.kind == "bernstein") != (self.bounds is not None):
            raise ValueError(
                "an interval by 'bernstein', and it alone, needs --bounds LOW HIGH: what one "
                "session can contribute at least and at most, weights included"
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(
                f"the bounds are {self.bounds[0]:g} and {self.bounds[1]:g}; the lower one comes "
                "first"
            )

    def of(self, found: Contributions, against: Contributions | None = None) -> Interval:
        """The interval of an estimate, or of its paired difference from another.

        Raises:
            Refusal: there is none.
        """
        if self.kind == "t":
            return student_t(found, self.level, against)
        if self.kind == "bootstrap":
            return bootstrap(found, self.level, against=against)
        assert self.bounds is not None
        low, high = self.bounds
        if against is None:
            return empirical_bernstein(found, low, high, self.level)
        # Both lie within the bounds, and so their difference within the bounds' own.
        for each in (found, against):
            empirical_bernstein(each, low, high, self.level)
        both = Contributions(found.base - against.base)
        return empirical_bernstein(both, low - high, high - low, self.level)


@dataclass(frozen=True)
class Outcome:
    """A number with its interval, or why there is none.

    Attributes:
        value: estimated; `None` where the estimator refuses.
        interval: `None` where there is none.
        refusal: why a number or an interval is missing.
    """

    value: float | None
    interval: Interval | None
    refusal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        ends = None if self.interval is None else [self.interval.low, self.interval.high]
        return {"value": self.value, "interval": ends, "refusal": self.refusal}


def outcome(
    found: Contributions | Refusal, method: Method, against: Contributions | Refusal | None = None
) -> Outcome:
    """The estimate of contributions, or of their difference, with its interval."""
    for each in (found, against):
        if isinstance(each, Refusal):
            return Outcome(None, None, str(each))
    assert isinstance(found, Contributions) and not isinstance(against, Refusal)
    try:
        value = estimate(found) - (0.0 if against is None else estimate(against))
    except Refusal as refusal:
        return Outcome(None, None, str(refusal))
    try:
        return Outcome(value, method.of(found, against))
    except Refusal as refusal:
        return Outcome(value, None, str(refusal))


def outcomes(
    found: Mapping[str, Contributions | Refusal],
    method: Method,
    against: Mapping[str, Contributions | Refusal] | None = None,
) -> dict[str, Outcome]:
    """Estimates by estimator, or their differences from others; models alone have no interval."""
    result: dict[str, Outcome] = {}
    for name, each in found.items():
        one = outcome(each, method, None if against is None else against[name])
        if name in MODEL_ALONE and one.value is not None:
            one = Outcome(one.value, None, NO_INTERVAL)
        result[name] = one
    return result


def chosen(bound: Bound, names: Sequence[str] | None) -> list[Estimator]:
    """The estimators that were asked for; those that fit the sessions if none was.

    Args:
        bound: the log.
        names: of estimators, or only `all`.

    Raises:
        ValueError: a name that is no estimator.
    """
    if names is None:
        if len(bound.offsets) <= len(bound.reward):
            return [ESTIMATORS[name] for name in SESSIONS]
        slates = SLATES if bound.behaviour.shape[1] > 1 else ()
        missing = bound.lacking
        kept = [name for name in slates if not missing.keys() & set(ESTIMATORS[name].needs)]
        return [ESTIMATORS[name] for name in (*ONE_STEP, *kept)]
    if list(names) == ["all"]:
        return [each for each in ESTIMATORS.values() if each.name != "logged"]
    return [estimator(name) for name in dict.fromkeys(names)]


def needs(names: Iterable[str] | None) -> set[str]:
    """Columns of `Logged` that the named estimators read; all if none is named."""
    every = names is None or list(names) == ["all"]
    found = ESTIMATORS.values() if every else [estimator(name) for name in names or ()]
    return {column for each in found for column in each.needs}


def logged(
    bound: Bound, number: int, asked: Sequence[Estimator], discount: float
) -> tuple[Logged, dict[str, str]]:
    """A log as the estimators read it, with models of value for one target.

    Args:
        bound: the log.
        number: of the target.
        asked: estimators; models that none of them reads are not fitted.
        discount: of rewards.

    Returns:
        The columns, and why some are missing.
    """
    target, lacking = bound.targets[number], dict(bound.lacking)
    columns: dict[str, Array] = {
        **{name: value for name, value in bound.slates.items() if name != "slot_inputs"},
        **{name: value for name, value in target.slates.items() if name != "mean_slot_inputs"},
    }
    wanted = {column for each in asked for column in each.needs}
    try:
        if wanted & {"q", "v"} and bound.inputs is not None and target.means is not None:
            columns["q"], columns["v"] = linear_fitted_q(
                bound.inputs, target.means, bound.reward, bound.offsets, discount
            )
        if "slot_q" in wanted and "slot_reward" in columns:
            columns["slot_q"], columns["slot_v"] = _slot_model(bound, number)
    except Refusal as refusal:
        for name in ("q", "v", "slot_q", "slot_v"):
            if name not in columns:
                lacking[name] = str(refusal)
    source = "estimated" if "estimated" in bound.counts.sources else "exact"
    return (
        Logged(
            bound.reward,
            bound.offsets,
            discount,
            source,  # type: ignore[arg-type]
            behaviour_slots=bound.behaviour,
            target_slots=target.slots,
            **columns,
        ),
        lacking,
    )


def _slot_model(bound: Bound, number: int) -> tuple[Floats, Floats]:
    """Predicted reward of a slot and the later ones, (R, K): sessions along the slots."""
    inputs, means = bound.slates["slot_inputs"], bound.targets[number].slates["mean_slot_inputs"]
    rows, slots, size = inputs.shape
    reward = bound.slates["slot_reward"].ravel()
    offsets = np.arange(0, rows * slots + 1, slots)
    flat = (inputs.reshape(-1, size), means.reshape(-1, size))
    q, v = linear_fitted_q(*flat, reward, offsets)
    return q.reshape(rows, slots), v.reshape(rows, slots)


def contributions(
    asked: Sequence[Estimator], log: Logged, lacking: dict[str, str]
) -> dict[str, Contributions | Refusal]:
    """What each estimator makes of the log, or why it refuses."""
    found: dict[str, Contributions | Refusal] = {}
    for each in asked:
        missing = [name for name in each.needs if getattr(log, name) is None]
        try:
            fits = each.scope == "sessions" or log.is_one_step
            if fits and missing and missing[0] in lacking:
                raise Refusal(f"'{each.name}' cannot be computed: {lacking[missing[0]]}")
            found[each.name] = each(log)
        except Refusal as refusal:
            found[each.name] = refusal
    return found
