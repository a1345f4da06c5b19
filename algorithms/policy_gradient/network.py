"""The networks of a policy gradient: log-weights of candidates or means of a box, and a value."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from algorithms.core.affinity import scores
from algorithms.core.identifiers import Columns, Ids
from algorithms.core.networks import StateItemNetwork, encoder, layers
from algorithms.core.settings import Widths
from algorithms.policy_gradient.settings import PolicyGradientSettings
from envs.spec import Feature, FeatureSpec


class NetworkOptions(Protocol):
    """What the networks read of settings; see `PolicyGradientSettings`."""

    @property
    def hidden(self) -> Widths: ...  # noqa: D102
    @property
    def item_hidden(self) -> Widths: ...  # noqa: D102
    @property
    def layer_norm(self) -> bool: ...  # noqa: D102
    @property
    def use_appeal(self) -> bool: ...  # noqa: D102
    @property
    def value_scale(self) -> float: ...  # noqa: D102
    @property
    def initial_value(self) -> float: ...  # noqa: D102


class PolicyNetwork(StateItemNetwork):
    """Log-weights of candidates, whatever their number, and a value of the state.

    A log-weight is <h(s), e(i)>, plus appeal(s, i) * <g(s), e(i)> where the
    appeal is used: how attractive a candidate is multiplies what a click on it is worth.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        history_size: int,
        options: NetworkOptions,
        ids: Ids | None = None,
    ) -> None:
        """Build with fresh weights; vectors are learned of ids where their columns are given."""
        self._appeal = spec if options.use_appeal and spec.appeal is not None else None
        super().__init__(
            spec.user_size + history_size,
            spec.candidate_size,
            hidden=options.hidden,
            item_hidden=options.item_hidden,
            layer_norm=options.layer_norm,
            groups=1 if self._appeal is None else 2,
            value_scale=options.value_scale,
            initial_value=options.initial_value,
            ids=ids,
        )

    def log_weights(self, code: Tensor, user: Tensor, candidates: Tensor) -> Tensor:
        """(B, N), of candidates (B, N, D)."""
        items = self.item(candidates)
        weights = self.product(code, items)
        if self._appeal is None:
            return weights
        return weights + scores(self._appeal, user, candidates) * self.product(code, items, 1)

    def value(self, code: Tensor) -> Tensor:
        """V(s), (B,), in the reward's unit."""
        return code[:, 0] * self.value_scale


class BoxNetwork(nn.Module):
    """Means and standard deviations of made actions, and a value of the state.

    Means are centred in the components' ranges; the standard deviations are
    parameters that no state changes.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(
        self, spec: FeatureSpec, history_size: int, options: PolicyGradientSettings
    ) -> None:
        """Build with fresh weights."""
        super().__init__()
        self.value_scale = options.value_scale
        state_size = spec.user_size + history_size
        self.body = layers(state_size, options.hidden, options.layer_norm)
        width = options.hidden[-1] if options.hidden else state_size
        self.head = nn.Linear(width, 1 + spec.candidate_size)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = options.initial_value / options.value_scale
        centres, halves = zip(
            *(_range(f) for f in spec.candidate for _ in range(f.size)), strict=True
        )
        self.register_buffer("centre", torch.tensor(centres))
        self.register_buffer("half_range", torch.tensor(halves))
        self.log_std = nn.Parameter(torch.full((len(halves),), math.log(options.initial_std)))

    def encode(self, user: Tensor, history: Tensor) -> Tensor:
        """State columns (B, U), (B, H) to the head's outputs (B, 1 + A)."""
        output: Tensor = self.head(self.body(torch.cat([user, history], dim=1)))
        return output

    def mean(self, code: Tensor) -> Tensor:
        """(B, A)."""
        return self.centre + self.half_range * code[:, 1:]

    def action_log_std(self) -> Tensor:
        """(A,), in the components' own units."""
        return self.log_std + self.half_range.log()

    def value(self, code: Tensor) -> Tensor:
        """V(s), (B,), in the reward's unit."""
        return code[:, 0] * self.value_scale


class ValueNetwork(nn.Module):
    """A value of the state with layers of its own."""

    def __init__(self, state_size: int, options: NetworkOptions, ids: Columns = ()) -> None:
        """Build with fresh weights; vectors are learned of ids where their columns are given."""
        super().__init__()
        self.value_scale = options.value_scale
        self.body, width = encoder(state_size, ids, options.hidden, options.layer_norm)
        self.head = nn.Linear(width, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.fill_(options.initial_value / options.value_scale)

    def forward(self, user: Tensor, history: Tensor) -> Tensor:
        """V(s), (B,), in the reward's unit."""
        value: Tensor = self.head(self.body(torch.cat([user, history], dim=1)))
        return value.squeeze(1) * self.value_scale


def _range(feature: Feature) -> tuple[float, float]:
    """Centre and half range of a component; 0 and 1 where it is unbounded."""
    if math.isinf(feature.low) or math.isinf(feature.high):
        return 0.0, 1.0
    return (feature.low + feature.high) / 2, (feature.high - feature.low) / 2
