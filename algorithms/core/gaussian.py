"""Gaussian distributions over actions that an agent makes itself: A numbers for each of B users."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """Independent normal components.

    What it states are densities, not probabilities: they may exceed 1, and
    they are those of the numbers drawn, before any bound is applied to them.

    Attributes:
        mean: (B, A).
        log_std: logarithm of the standard deviations, (A,) or (B, A).
        temperature: factor on the variance; at 0 the mean is drawn for certain,
            with the log-probability 0.
    """

    mean: Tensor
    log_std: Tensor
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a variance that is none."""
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature is {self.temperature}; it must be finite and not negative "
                "(0 takes the mean)"
            )

    @property
    def _log_std(self) -> Tensor:
        return self.log_std + 0.5 * math.log(self.temperature)

    def mode(self) -> Tensor:
        """The most likely actions, (B, A)."""
        return self.mean

    @torch.no_grad()
    def sample(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw one action a row.

        Returns:
            actions: (B, A).
            log_densities: of each component, (B, A), without gradient.
        """
        if self.temperature == 0:
            return self.mean, torch.zeros_like(self.mean)
        noise = torch.randn(
            self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device
        )
        actions = self.mean + self._log_std.exp() * noise
        return actions, self.component_log_prob(actions)

    def component_log_prob(self, actions: Tensor) -> Tensor:
        """Log-density of each component, (B, A), differentiable.

        At temperature 0 it is 0 for the mean and -inf for anything else.
        """
        if self.temperature == 0:
            return torch.zeros_like(self.mean).masked_fill(actions != self.mean, -math.inf)
        log_std = self._log_std
        return -0.5 * ((actions - self.mean) / log_std.exp()).square() - log_std - _HALF_LOG_2PI

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-density of each row's action, (B,), differentiable."""
        return self.component_log_prob(actions).sum(1)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, (B,); exact, negative for narrow ones.

        Raises:
            ValueError: at temperature 0 there is no density.
        """
        if self.temperature == 0:
            raise ValueError("an action that is certain has no density, and no entropy of one")
        return (self._log_std + _HALF_LOG_2PI + 0.5).expand_as(self.mean).sum(1)
