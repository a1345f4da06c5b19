"""Losses of policy gradients against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.core.slates import plackett_luce
from algorithms.policy_gradient.losses import (
    clipped_loss,
    divergence,
    likelihood_loss,
    shown_entropy,
)

HALF, DOUBLE = math.log(0.5), math.log(2.0)
BEFORE = tensor([0.0, 0.0])


def test_likelihoods_are_weighted_by_advantages() -> None:
    # -(-1 * 3 + -2 * -1) / 2 = .5
    assert float(likelihood_loss(tensor([-1.0, -2.0]), tensor([3.0, -1.0]))) == 0.5


def test_ratios_beyond_the_clip_count_no_further() -> None:
    # Ratios 2 and .5. A = 1: min(2, 1.2) and min(.5, .8); the mean is -.85.
    now = tensor([DOUBLE, HALF])
    assert float(clipped_loss(now, BEFORE, tensor([1.0, 1.0]), 0.2)) == pytest.approx(-0.85)
    # A = -1: min(-2, -1.2) and min(-.5, -.8): 1.4.
    assert float(clipped_loss(now, BEFORE, tensor([-1.0, -1.0]), 0.2)) == pytest.approx(1.4)
    # Nothing clipped: -(2 + .5) / 2.
    assert float(clipped_loss(now, BEFORE, tensor([1.0, 1.0]), None)) == pytest.approx(-1.25)


def test_where_the_ratio_is_clipped_there_is_no_gradient() -> None:
    now = tensor([DOUBLE, DOUBLE], requires_grad=True)
    clipped_loss(now, BEFORE, tensor([1.0, -1.0]), 0.2).backward()
    # The first gains no more; the second still loses, d(-2 * -1 / 2) = 2 / 2.
    assert now.grad is not None
    torch.testing.assert_close(now.grad, tensor([0.0, 1.0]))


def test_the_divergence_is_zero_at_the_old_policy_and_positive_elsewhere() -> None:
    assert float(divergence(BEFORE, BEFORE)) == 0.0
    # (2 - 1 - log 2 + .5 - 1 + log 2) / 2 = .25
    assert float(divergence(tensor([DOUBLE, HALF]), BEFORE)) == pytest.approx(0.25)


def test_the_entropy_of_one_slot_is_exact() -> None:
    weights, mask = tensor([[0.0, math.log(3.0), 9.0]]), tensor([[True, True, False]])
    # Probabilities 1/4 and 3/4: .25 log 4 + .75 log(4/3) = .5623.
    found = shown_entropy(weights, mask, tensor([[1]]))
    assert float(found) == pytest.approx(0.5623, abs=1e-4)
    exact = plackett_luce(weights, mask, 1).entropy()
    torch.testing.assert_close(found, exact)


def test_the_entropy_of_shown_slates_is_the_slates_entropy_on_average() -> None:
    weights, mask = tensor([[0.0, 1.0, -1.0, 2.0]]), torch.ones(1, 4, dtype=torch.bool)
    policy = plackett_luce(weights.expand(20_000, -1), mask.expand(20_000, -1), 2)
    slates, _ = policy.sample(torch.Generator().manual_seed(0))
    found = shown_entropy(policy.log_weights, policy.mask, slates)
    exact = float(plackett_luce(weights, mask, 2).entropy())
    assert float(found.mean()) == pytest.approx(exact, abs=4 * float(found.std()) / 141)
    assert float(found.std()) > 0.01


def test_the_entropys_gradient_stays_finite_where_one_item_is_left() -> None:
    weights = tensor([[1.0, 5.0]], requires_grad=True)
    found = shown_entropy(weights, torch.ones(1, 2, dtype=torch.bool), tensor([[1, 0]]))
    found.sum().backward()
    assert weights.grad is not None and bool(weights.grad.isfinite().all())
