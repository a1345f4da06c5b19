"""Two rows of two slots, and the pseudo-inverse on slates that can be listed on paper."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from offline.ope import Logged, Refusal, estimate, estimator
from offline.ope.slates import pseudo_inverse_weights

LOG = Logged.one_step(
    [3.0, 5.0],
    slot_reward=[[1.0, 2.0], [5.0, 0.0]],
    behaviour_slots=np.log([[0.5, 0.5], [0.25, 0.5]]),
    target_slots=np.log([[1.0, 0.25], [0.5, 0.5]]),
    behaviour_marginals=np.log([[0.5, 0.4], [0.25, 0.6]]),
    target_marginals=np.log([[1.0, 0.2], [0.5, 0.3]]),
    slot_q=[[2.0, 1.0], [4.0, 1.0]],
    slot_v=[[2.5, 1.5], [3.0, 0.5]],
    pseudo_inverse=[1.5, -0.5],
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Slot ratios 2 and 0.5; 2 and 1.
        ("sips", (1 * 3 + 2 * 5) / 2),
        ("ips", (1 * 3 + 2 * 5) / 2),
        # Marginal ratios 2 and 0.5; 2 and 0.5.
        ("iips", (2 * 1 + 0.5 * 2 + 2 * 5 + 0.5 * 0) / 2),
        # Running products 2 and 1; 2 and 2.
        ("rips", (2 * 1 + 1 * 2 + 2 * 5 + 2 * 0) / 2),
        # 2.5 + 2 (1 + 1.5 - 2) + 1 (2 - 1) = 4.5; 3 + 2 (5 + 0.5 - 4) + 2 (0 - 1) = 4.
        ("cascade_dr", (4.5 + 4) / 2),
        ("pi", (1.5 * 3 - 0.5 * 5) / 2),
    ],
)
def test_values_by_hand(name: str, expected: float) -> None:
    assert estimate(estimator(name)(LOG)) == pytest.approx(expected, abs=1e-12)


def pairwise(probability: dict[tuple[int, int], float], candidates: int) -> np.ndarray:
    moments = np.zeros((1, 2, candidates, 2, candidates))
    for (first, second), chance in probability.items():
        for k, n in ((0, first), (1, second)):
            for m, other in ((0, first), (1, second)):
                moments[0, k, n, m, other] += chance
    return moments


def test_pseudo_inverse_of_one_slot_is_the_ratio() -> None:
    moments = np.diag([0.2, 0.3, 0.5]).reshape(1, 1, 3, 1, 3)
    found = pseudo_inverse_weights(np.array([[1]]), moments, np.array([[[0.1, 0.6, 0.3]]]))
    assert_allclose(found, [0.6 / 0.3])


def test_pseudo_inverse_of_two_orders_of_two_items() -> None:
    # Only (0, 1) and (1, 0) exist, with 1/4 and 3/4; the target shows them half and
    # half, so the weights are the ratios 2 and 2/3.
    moments = pairwise({(0, 1): 0.25, (1, 0): 0.75}, 2)
    target = np.full((1, 2, 2), 0.5)
    slates = np.array([[0, 1], [1, 0]])
    found = pseudo_inverse_weights(slates, np.repeat(moments, 2, 0), np.repeat(target, 2, 0))
    assert_allclose(found, [2, 2 / 3])


def test_pseudo_inverse_weights_of_the_log_itself_are_1() -> None:
    chances = {(0, 1): 0.1, (1, 0): 0.2, (0, 2): 0.05, (2, 0): 0.25, (1, 2): 0.3, (2, 1): 0.1}
    moments = pairwise(chances, 3)
    marginals = np.einsum("rknkn->rkn", moments)
    slates = np.array(list(chances))
    found = pseudo_inverse_weights(slates, np.repeat(moments, 6, 0), np.repeat(marginals, 6, 0))
    assert_allclose(found, np.ones(6), atol=1e-9)


def test_pseudo_inverse_needs_every_item_of_the_target_in_its_slot() -> None:
    moments = pairwise({(0, 1): 0.5, (0, 2): 0.5}, 3)
    target = np.array([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]])
    with pytest.raises(Refusal, match="in row 0 the target shows an item in a slot where the log"):
        pseudo_inverse_weights(np.array([[0, 1]]), moments, target)


def test_weights_of_two_slots_and_three_items_by_hand() -> None:
    # Of three items all six ordered slates alike; the target always shows (0, 1). The weight
    # is 1 in the mean, and gives back both the mean effect of item 0 in the first slot and
    # that of item 1 in the second: (5 + 1) / 6 and (5 + 1) / 6, others 0.
    slates = np.array([[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]])
    shown = np.eye(3)[slates]  # (6, 2, 3)
    moments = np.einsum("rki,rlj->kilj", shown, shown) / 6
    wanted = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    pairwise, marginals = np.tile(moments, (6, 1, 1, 1, 1)), np.tile(wanted, (6, 1, 1))
    weight = pseudo_inverse_weights(slates, pairwise, marginals)
    assert_allclose(weight, [5, 1, 1, -1, -1, 1], atol=1e-9)
    assert_allclose(np.einsum("r,rki->ki", weight, shown) / 6, wanted, atol=1e-9)
