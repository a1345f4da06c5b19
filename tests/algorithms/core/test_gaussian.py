"""The distribution of made actions against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.core.gaussian import DiagonalGaussian


def test_log_densities_and_entropy() -> None:
    policy = DiagonalGaussian(tensor([[1.0, -1.0]]), tensor([0.0, math.log(2.0)]))
    # N(1, 1) at 2: -1/2 - .9189385; N(-1, 2) at -1: -log 2 - .9189385.
    expected = tensor([[-1.4189385, -1.6120857]])
    torch.testing.assert_close(policy.component_log_prob(tensor([[2.0, -1.0]])), expected)
    torch.testing.assert_close(policy.log_prob(tensor([[2.0, -1.0]])), expected.sum(1))
    # log(sigma) + (1 + log(2 pi)) / 2: 1.4189385 + (0.6931472 + 1.4189385).
    torch.testing.assert_close(policy.entropy(), tensor([3.5310242]))


def test_draws_have_the_stated_mean_and_spread() -> None:
    policy = DiagonalGaussian(tensor([[3.0]]).expand(100_000, 1), tensor([math.log(2.0)]))
    drawn, log_densities = policy.sample(torch.Generator().manual_seed(0))
    # Standard errors: 2 / sqrt(100,000) = .006 and 2 / sqrt(200,000) = .004.
    assert float(drawn.mean()) == pytest.approx(3.0, abs=0.025)
    assert float(drawn.std()) == pytest.approx(2.0, abs=0.02)
    torch.testing.assert_close(log_densities, policy.component_log_prob(drawn))
    # The mean log-density is minus the entropy; its deviation is sqrt(1/2), over 316 .002.
    assert float(log_densities.mean()) == pytest.approx(-float(policy.entropy()[0]), abs=0.01)


def test_temperature_scales_the_variance() -> None:
    policy = DiagonalGaussian(tensor([[0.0]]), tensor([0.0]), temperature=4.0)
    wide = DiagonalGaussian(tensor([[0.0]]), tensor([math.log(2.0)]))
    torch.testing.assert_close(policy.log_prob(tensor([[1.5]])), wide.log_prob(tensor([[1.5]])))


def test_at_temperature_0_the_mean_is_certain() -> None:
    policy = DiagonalGaussian(tensor([[0.5], [2.0]]), tensor([0.0]), temperature=0.0)
    actions, log_probs = policy.sample()
    assert torch.equal(actions, policy.mode())
    assert log_probs.tolist() == [[0.0], [0.0]]
    assert policy.log_prob(tensor([[0.5], [1.0]])).tolist() == [0.0, -math.inf]
    with pytest.raises(ValueError, match="has no density"):
        policy.entropy()


def test_gradients_flow_to_mean_and_deviation() -> None:
    mean, log_std = tensor([[0.0]], requires_grad=True), tensor([0.0], requires_grad=True)
    DiagonalGaussian(mean, log_std).log_prob(tensor([[2.0]])).sum().backward()
    # d/dmean: (x - mean) / s^2 = 2; d/dlog s: ((x - mean) / s)^2 - 1 = 3.
    assert mean.grad is not None and log_std.grad is not None
    assert (float(mean.grad), float(log_std.grad)) == (2.0, 3.0)


def test_a_negative_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature is -1"):
        DiagonalGaussian(tensor([[0.0]]), tensor([0.0]), temperature=-1)
