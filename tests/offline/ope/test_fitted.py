from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from offline.ope import Refusal
from offline.ope.fitted import Choices, fitted_q
from offline.ope.ragged import Floats
from offline.ope.regressions import Fit, Model, network, ridge

# A chain of two steps without luck. Action 1 pays 1 at the first step and 3 at the
# second, action 0 pays 0; the target takes action 1 with probability 0.75.
SESSIONS = 24
OFFSETS = np.arange(0, 2 * SESSIONS + 1, 2)
ACTION = np.array([[s % 2, s // 2 % 2] for s in range(SESSIONS)]).ravel()
STEP = np.tile([0, 1], SESSIONS)
REWARD = ACTION * np.where(STEP == 0, 1.0, 3.0)


def one_hot(step: np.ndarray, action: np.ndarray) -> Floats:
    return np.eye(4)[2 * step + action]


CHOICES = Choices(
    np.stack([one_hot(STEP, np.zeros(48, int)), one_hot(STEP, np.ones(48, int))], axis=1),
    np.tile([0.25, 0.75], (48, 1)),
)


def fit(**settings: object) -> tuple[Floats, Floats]:
    inputs = one_hot(STEP, ACTION)
    return fitted_q(inputs, CHOICES, REWARD, OFFSETS, 0.5, **settings)  # type: ignore[arg-type]


def test_a_chain_by_hand() -> None:
    # Second step: q = 3 a, v = 2.25. First: q = a + 0.5 * 2.25, v = 0.75 + 1.125.
    q, v = fit(regression=ridge(1e-9))
    assert_allclose(q, np.where(STEP == 0, ACTION + 1.125, 3 * ACTION), atol=1e-6)
    assert_allclose(v, np.where(STEP == 0, 1.875, 2.25), atol=1e-6)


def test_one_iteration_predicts_the_reward_alone() -> None:
    q, v = fit(regression=ridge(1e-9), iterations=1)
    assert_allclose(q, REWARD, atol=1e-6)
    assert_allclose(v, np.where(STEP == 0, 0.75, 2.25), atol=1e-6)


def test_a_line_through_all_horizons_takes_more_rounds_than_steps() -> None:
    # Reward 1 for 6 steps: 6 - t from step t on, a line in t, which min(k, 6 - t) after
    # k rounds is not.
    time = np.tile(np.arange(6.0), 10)[:, None]
    same = Choices(time[:, None], np.ones((60, 1)))
    offsets = np.arange(0, 61, 6)
    few, enough = (
        fitted_q(time, same, np.ones(60), offsets, regression=ridge(1e-9), iterations=rounds)[1]
        for rounds in (6, None)
    )
    assert_allclose(enough[0], 6, atol=0.01)
    assert few[0] < 5.5


def test_a_network_serves_too() -> None:
    q, v = fit(
        regression=network((16,), passes=80, batch=48, learning_rate=0.05), folds=2, iterations=2
    )
    assert_allclose(q, np.where(STEP == 0, ACTION + 1.125, 3 * ACTION), atol=0.1)
    assert_allclose(v, np.where(STEP == 0, 1.875, 2.25), atol=0.1)


def test_the_mean_of_the_choices_is_enough_for_a_linear_model() -> None:
    mean = np.einsum("rmf,rm->rf", CHOICES.inputs, CHOICES.probability)
    few = Choices(mean[:, None], np.ones((48, 1)))
    inputs = one_hot(STEP, ACTION)
    assert_allclose(fitted_q(inputs, few, REWARD, OFFSETS, 0.5), fit(), atol=1e-12)


def test_no_session_is_predicted_by_a_model_that_saw_it() -> None:
    # One session is paid something absurd; only the other sessions' predictions notice.
    reward = REWARD.copy()
    reward[0] += 1000
    inputs = one_hot(STEP, ACTION)
    before, after = fit()[0], fitted_q(inputs, CHOICES, reward, OFFSETS, 0.5)[0]
    assert_allclose(after[:2], before[:2], atol=1e-9)
    assert np.abs(after[2:] - before[2:]).max() > 10


def test_a_callable_of_ones_own_is_a_regression() -> None:
    # It knows no inputs: the mean of its targets. The last steps pay 1.5 in the mean, the
    # first 0.5; fitted to rewards, all folds' means are near 1, so v is one number a fold.
    def mean_only(inputs: Floats) -> Fit:
        def fit_mean(targets: Floats) -> Model:
            return lambda given: np.full(len(given), targets.mean())

        return fit_mean

    q, v = fit(regression=mean_only, iterations=1, folds=2)
    assert_allclose(q, v)
    assert len(np.unique(q.round(9))) <= 2 and 0.5 < q.mean() < 1.5


def test_the_folds_follow_the_seed() -> None:
    noisy = REWARD + np.random.default_rng(0).normal(size=48)
    inputs = one_hot(STEP, ACTION)
    first, same, other = (
        fitted_q(inputs, CHOICES, noisy, OFFSETS, 0.5, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert_allclose(first, same)
    assert np.abs(first - other).max() > 1e-3


def test_a_stronger_penalty_draws_predictions_to_the_mean() -> None:
    spread = [fit(regression=ridge(penalty), iterations=1)[0].std() for penalty in (1e-6, 1.0, 1e3)]
    assert spread[0] > 1.5 * spread[1] > 10 * spread[2]


def test_what_diverges_is_refused() -> None:
    def doubling(inputs: Floats) -> Fit:
        return lambda targets: lambda given: np.full(len(given), 10 * np.abs(targets).max())

    long = np.array([0, 24, 48])
    with pytest.raises(Refusal, match="fitted Q evaluation diverges on this log; use a smaller"):
        fitted_q(one_hot(STEP, ACTION), CHOICES, REWARD, long, regression=doubling, folds=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "1 folds of 24 sessions"),
        ({"folds": 25}, "25 folds of 24 sessions"),
        ({"regression": None, "iterations": 0}, "iterations is 0; it must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(**settings)


def test_shapes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"inputs have shape \(48, 3\)"):
        fitted_q(np.zeros((48, 3)), CHOICES, REWARD, OFFSETS)


def test_a_penalty_is_positive() -> None:
    with pytest.raises(ValueError, match="penalty is 0; it must be positive"):
        ridge(0)
