"""Predictions of value for the model-based estimators: fitted Q evaluation, cross-fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.ope.columns import Refusal
from offline.ope.ragged import Floats, Ints, lengths, shifted
from offline.ope.regressions import Fit, Model, Regression, ridge

SETTLED = 1e-6
"""Relative change of the targets below which no more fits are made."""

ROUNDS = 5
"""Fits a step of the longest session, at most."""

EXPLODED = 1e6
"""Predictions above so many times the largest return that there could be diverge."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What the target may show in each row, for a mean over it.

    For slates, M draws from the target with probability 1 / M each do. A
    regression linear in its inputs needs only their mean: M = 1, probability 1.

    Attributes:
        inputs: of the regression, (R, M, F).
        probability: of each choice, (R, M); rows sum to 1.
    """

    inputs: Floats
    probability: Floats

    def of(self, rows: Ints) -> Choices:
        """Those of some rows."""
        return Choices(self.inputs[rows], self.probability[rows])

    def mean(self, model: Model) -> Floats:
        """Mean prediction over the choices of each row, (R,)."""
        count, choices, size = self.inputs.shape
        predicted = model(self.inputs.reshape(-1, size)).reshape(count, choices)
        result: Floats = (self.probability * predicted).sum(1)
        return result


def fitted_q(
    inputs: Floats,
    choices: Choices,
    reward: Floats,
    offsets: Ints,
    discount: float = 1.0,
    *,
    regression: Regression | None = None,
    folds: int = 5,
    seed: int = 0,
    iterations: int | None = None,
) -> tuple[Floats, Floats]:
    """Predict the target's return from each row on, each session by a model of the others.

    Q is fitted to r_t + gamma * mean_target Q(s_{t+1}, .) over and over; a
    session's last row is fitted to its reward. For sessions of one step this is
    the cross-fitted reward model of the direct method.

    Args:
        inputs: of the regression for what was shown, (R, F): features of the
            state and of the slate; with the time, where value depends on it.
        choices: the same for what the target may show.
        reward: (R,).
        offsets: (S + 1,), the rows of each session.
        discount: gamma.
        regression: ridge regression if not given; see `regressions`.
        folds: parts of the sessions, at least 2.
        seed: of the parts.
        iterations: at most so many fits, fewer once predictions settle; five
            times the longest session's steps if not given. After once these a
            reward has reached its first row, but a model that can't represent
            the values of every horizon on the way there needs more.

    Returns:
        q: predicted value of what was shown, (R,).
        v: mean over what the target would show, (R,).

    Raises:
        ValueError: fewer sessions than folds, or shapes that don't fit.
        Refusal: the fits diverge.

    Source: Le, Voloshin and Yue (2019), arXiv:1903.08738; the folds after
    Chernozhukov et al. (2018), doi:10.1111/ectj.12097.
    """
    sessions = len(offsets) - 1
    if not 2 <= folds <= sessions:
        raise ValueError(
            f"{folds} folds of {sessions} sessions; there must be at least 2 and no more than "
            "sessions"
        )
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations is {iterations}; it must be at least 1")
    if choices.inputs.shape != (len(reward), choices.probability.shape[1], inputs.shape[1]):
        raise ValueError(
            f"inputs have shape {inputs.shape} and those of the choices {choices.inputs.shape}; "
            f"expected ({len(reward)}, F) and ({len(reward)}, M, F)"
        )
    fold = np.random.default_rng(seed).permutation(sessions) % folds
    of_row = np.repeat(fold, lengths(offsets))
    q, v = np.empty((2, len(reward)))
    for part in range(folds):
        theirs, ours = np.flatnonzero(of_row != part), np.flatnonzero(of_row == part)
        kept = np.append(0, lengths(offsets)[fold != part].cumsum())
        most = ROUNDS * int(lengths(kept).max()) if iterations is None else iterations
        fit = (regression or ridge())(inputs[theirs])
        model = _iterate(fit, choices.of(theirs), reward[theirs], kept, discount, most)
        q[ours], v[ours] = model(inputs[ours]), choices.of(ours).mean(model)
    return q, v


def _iterate(
    fit: Fit, choices: Choices, reward: Floats, offsets: Ints, discount: float, iterations: int
) -> Model:
    targets = reward
    model = fit(targets)
    largest = EXPLODED * (1 + np.abs(reward).max() * int(lengths(offsets).max()))
    for _ in range(iterations - 1):
        following = reward + discount * shifted(choices.mean(model), offsets)
        if not np.abs(following).max() <= largest:
            raise Refusal(
                "fitted Q evaluation diverges on this log; use a smaller discount, fewer or "
                "other features, or a stronger penalty"
            )
        settled = np.abs(following - targets).max() <= SETTLED * (1 + np.abs(targets).max())
        targets = following
        if settled:
            break
        model = fit(targets)
    return model
