import math

import numpy as np
import pytest
import torch
from torch import tensor

from offline.marwil.losses import (
    advantage_weights,
    half_square,
    normaliser,
    returns_to_go,
    spread,
    weighted_likelihood_loss,
)


def test_returns_to_go_of_two_sessions() -> None:
    reward = np.array([1, 2, 4, 8, 16], np.float32)
    step = np.array([0, 1, 2, 0, 1])
    # 1 + (2 + 4 / 2) / 2, 2 + 4 / 2, 4; 8 + 16 / 2, 16.
    assert returns_to_go(reward, step, 0.5).tolist() == [3, 4, 4, 16, 16]
    assert returns_to_go(reward, step, 1.0).tolist() == [7, 6, 4, 24, 16]
    assert returns_to_go(reward, step, 0.0).tolist() == reward.tolist()
    assert len(returns_to_go(reward[:0], step[:0], 0.5)) == 0


def test_the_normaliser_is_right_from_the_first_minibatch() -> None:
    # m: 0, 0.5 * 4, 0.5 * 2 + 0.5 * 16; over 1 - 0.5, 1 - 0.25.
    moment, square = normaliser(torch.zeros(()), 1, tensor(4.0), 0.5)
    assert (moment, square) == (2.0, 4.0)
    moment, square = normaliser(moment, 2, tensor(16.0), 0.5)
    assert moment == 9.0 and square == pytest.approx(12.0)


def test_weights_by_hand() -> None:
    # c = 2; exp(0.5 * A / 2) for A = 0, 4, -4; and 12, which would be e^3.
    found = advantage_weights(tensor([0.0, 4.0, -4.0, 12.0]), tensor(4.0), 0.5, 3.0)
    assert found.tolist() == pytest.approx([1.0, math.e, 1 / math.e, 3.0])
    assert advantage_weights(tensor([5.0]), tensor(0.0), 0.0, 3.0).tolist() == [1.0]


def test_losses_by_hand() -> None:
    # -(2 * -1 + 1 * -3) / 2
    assert weighted_likelihood_loss(tensor([-1.0, -3.0]), tensor([2.0, 1.0])) == 2.5
    # (1 + 9) / 2 / 2
    assert half_square(tensor([1.0, -3.0])) == 2.5


def test_spread() -> None:
    assert spread(np.array([1, 3], np.float32)) == (2.0, 1.0)
    assert spread(np.array([2, 2], np.float32)) == (2.0, 1.0)
