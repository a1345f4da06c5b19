"""From log-propensities to importance weights, or a sentence why there are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from offline.ope.columns import Logged, Refusal
from offline.ope.ragged import Floats, running

ROUNDING = 1e-5
"""How far above 0 a log-probability may lie that was summed in float32."""

UNCOVERED = 1e-3
"""Share of the target's choices that may lie where the log shows one thing with certainty."""

OVERFLOW = 700.0
"""Weights above exp of this are no float64."""


def log_ratio(log: Logged) -> Floats:
    """Log of target over behaviour probability of each row's slate, (R,); -inf for never.

    Raises:
        Refusal: propensities are missing, impossible, or cover too little, be it in
            a slot.
    """
    ratio = _ratio(log, "behaviour", "target")
    if log.behaviour_slots is not None and log.target_slots is not None:
        _check_coverage(log.behaviour_slots, _reached(log.target_slots))
    check_any_shown(ratio)
    return ratio


def slot_log_ratio(log: Logged) -> Floats:
    """The same for each slot given the earlier ones, (R, K)."""
    ratio = _ratio(log, "behaviour_slots", "target_slots")
    check_any_shown(ratio[:, :1])
    return ratio


def marginal_log_ratio(log: Logged) -> Floats:
    """The same for each slot whatever the others show, (R, K)."""
    ratio = _ratio(log, "behaviour_marginals", "target_marginals")
    check_any_shown(ratio)
    return ratio


def session_log_weight(log: Logged) -> Floats:
    """Log-weight of the session up to and with each row, (R,)."""
    return running(log_ratio(log), log.offsets)


def weights(log_weight: Floats) -> Floats:
    """Weights from their logarithms.

    Raises:
        Refusal: a weight is too large for float64.
    """
    if log_weight.size and log_weight.max() > OVERFLOW:
        raise Refusal(
            f"the largest importance weight is exp({log_weight.max():.0f}): target and log overlap "
            "too little to say anything; judge a target nearer to the log"
        )
    return np.exp(log_weight)


def check_behaviour(log: Logged, name: str = "behaviour") -> Floats:
    """The log's own propensities in a column.

    Raises:
        Refusal: they are missing or impossible.
    """
    if log.source == "none":
        raise Refusal(
            "the log's propensity source is 'none', so nothing is known of what else could have "
            "been shown; log propensities, or estimate them first"
        )
    behaviour = _column(log, name)
    if np.isneginf(behaviour).any():
        row = np.argwhere(np.isneginf(behaviour))[0][0]
        raise Refusal(
            f"the propensity of row {row} is 0, yet the row was logged; the logged "
            "propensities are wrong, so no weight can be formed"
        )
    return behaviour


def _ratio(log: Logged, behaviour_name: str, target_name: str) -> Floats:
    behaviour, target = check_behaviour(log, behaviour_name), _column(log, target_name)
    reached = _reached(target) if target_name == "target_slots" else target
    _check_coverage(behaviour, reached)
    ratio: Floats = target - behaviour
    return ratio


def _column(log: Logged, name: str) -> Floats:
    column: Floats | None = getattr(log, name)
    if column is None:
        raise Refusal(f"the column {name} is missing; give log-probabilities, one a row")
    _check_logs(name, column)
    return column


def _reached(target: Floats) -> Floats:
    """Slots (R, K) after an impossible one say nothing about the log's support: 0 there."""
    never = np.isneginf(target)
    return np.where(never & (never.cumsum(1) > 1), 0.0, target)


def _check_logs(name: str, column: Floats) -> None:
    if np.isnan(column).any():
        row = np.argwhere(np.isnan(column))[0][0]
        raise Refusal(
            f"{name} of row {row} is missing; every row needs a log-probability "
            "(leave out whole sessions that have none)"
        )
    if column.max() > ROUNDING:
        row = np.unravel_index(column.argmax(), column.shape)[0]
        raise Refusal(
            f"{name} of row {row} is {column.max():.3g}, a probability above 1; logarithms of "
            "probabilities are at most 0"
        )


def _check_coverage(behaviour: Floats, target: Floats) -> None:
    uncovered = uncovered_share(behaviour, target)
    if uncovered > UNCOVERED:
        certain = float((behaviour >= 0).mean())
        raise Refusal(
            f"in {certain:.1%} of the rows the log shows one thing with certainty, and there "
            f"{uncovered:.1%} of the target's choices would be others, which the log never "
            "tried; log with exploration, or judge a target that agrees there"
        )


def check_any_shown(log_ratio: Floats) -> None:
    """Refuse a target that can have shown nothing of what was logged.

    Args:
        log_ratio: of what would have to be shown for a weight above 0, any shape.

    Raises:
        Refusal: all are -inf.
    """
    if np.isneginf(log_ratio).all():
        raise Refusal(
            "the target would have shown nothing of what was logged, so all weights are 0; "
            "judge a target that explores, or log one nearer to it"
        )


def uncovered_share(behaviour: Floats, target: Floats) -> float:
    """Share of the target's choices where the log has propensity 1 for something else."""
    return float(np.where(behaviour >= 0, 1 - np.exp(np.minimum(target, 0.0)), 0.0).mean())


def check_candidates(logged: ArrayLike, offered: ArrayLike) -> None:
    """Refuse a target that chose among other candidates than the log offered.

    Args:
        logged: ids of the candidates of each row, (R, N), padded alike.
        offered: ids that the target's probabilities are over, (R, N).

    Raises:
        Refusal: they differ; names the first row.
    """
    ours, theirs = np.asarray(logged), np.asarray(offered)
    if ours.shape != theirs.shape:
        raise Refusal(
            f"the target chose among {theirs.shape[-1]} candidates for {len(theirs)} rows, the log "
            f"offered {ours.shape[-1]} for {len(ours)}; judge it on the logged candidates"
        )
    other = (ours != theirs).reshape(len(ours), -1).any(1)
    if other.any():
        row = int(other.argmax())
        raise Refusal(
            f"the candidates of row {row} are not those that the target chose among; judge it "
            "on the logged candidates, in their order"
        )
