from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from offline.ope import Refusal
from offline.ope.fitted import Choices, fitted_q
from offline.ope.linear import linear_fitted_q
from offline.ope.ragged import lengths
from offline.ope.regressions import ridge
from tests.offline.ope.test_fitted import ACTION, CHOICES, OFFSETS, REWARD, STEP, one_hot

MEAN = np.einsum("rmf,rm->rf", CHOICES.inputs, CHOICES.probability)


def test_a_chain_by_hand() -> None:
    # Second step: q = 3 a, v = 2.25. First: q = a + 0.5 * 2.25, v = 0.75 + 1.125.
    shown = one_hot(STEP, ACTION)
    q, v = linear_fitted_q(shown, MEAN, REWARD, OFFSETS, 0.5, penalty=1e-9)
    assert_allclose(q, np.where(STEP == 0, ACTION + 1.125, 3 * ACTION), atol=1e-6)
    assert_allclose(v, np.where(STEP == 0, 1.875, 2.25), atol=1e-6)


@pytest.mark.parametrize(("discount", "penalty"), [(1.0, 1e-3), (0.7, 0.1)])
def test_sums_give_what_rows_give(discount: float, penalty: float) -> None:
    # More rows than a block, so that sessions lie across the edges of blocks.
    random = np.random.default_rng(0)
    offsets = np.append(0, random.integers(1, 6, 4000).cumsum())
    rows = int(offsets[-1])
    assert rows > 8192 and lengths(offsets).max() == 5
    shown, means = random.standard_normal((2, rows, 4)) * [1, 10, 0.1, 0] + [0, 5, 0, 3]
    reward = shown @ [1.0, 0.2, 3.0, 0.0] + random.standard_normal(rows)
    slow = fitted_q(
        shown,
        Choices(means[:, None], np.ones((rows, 1))),
        reward,
        offsets,
        discount,
        regression=ridge(penalty),
        seed=3,
    )
    fast = linear_fitted_q(shown, means, reward, offsets, discount, seed=3, penalty=penalty)
    assert_allclose(fast, slow, rtol=1e-5, atol=1e-5)
    other = linear_fitted_q(shown, means, reward, offsets, discount, seed=4, penalty=penalty)
    assert np.abs(np.subtract(fast, other)).max() > 1e-3


def test_no_session_is_predicted_by_a_model_that_saw_it() -> None:
    reward = REWARD.copy()
    reward[0] += 1000.0
    shown = one_hot(STEP, ACTION)
    before = linear_fitted_q(shown, MEAN, REWARD, OFFSETS)[0]
    after = linear_fitted_q(shown, MEAN, reward, OFFSETS)[0]
    assert_allclose(after[:2], before[:2])
    assert np.abs(after[2:] - before[2:]).max() > 10


def test_what_grows_without_end_is_refused() -> None:
    # Each row predicts twice the next: 2^t grows with every round.
    offsets = np.arange(0, 2001, 200)
    shown = np.tile(np.linspace(1, 2, 200), 10)[:, None]
    with pytest.raises(Refusal, match="diverges"):
        linear_fitted_q(shown, 9 * shown, shown[:, 0], offsets)


def test_fewer_sessions_than_folds_are_refused() -> None:
    with pytest.raises(Refusal, match="5 parts of the sessions, and there are 3"):
        linear_fitted_q(np.ones((3, 1)), np.ones((3, 1)), np.ones(3), np.arange(4))
