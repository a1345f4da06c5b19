"""Inputs of the linear models of value: the state, and features of the shown items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from algorithms.core.affinity import scores
from algorithms.core.slates import SlateDistribution
from envs.simulator import Observation
from envs.spec import Feature, FeatureSpec

STATE, ITEM, PRODUCTS = 48, 32, 128
"""At most so many columns of the state and of items, and of products of the two."""

SLOT_ITEM = 8
"""The same of items in the models of slots."""

SAMPLES = 4
"""Slates drawn for the marginals of a distribution that is too large to enumerate."""

ENUMERATED, FEW = 2000, 200
"""Ordered slates up to which marginals are exact: where they must be, and in the models' means."""


@dataclass(frozen=True)
class Inputs:
    """Turns observations and slates into rows of numbers.

    More columns than are kept are mixed at random into as many (a fixed draw):
    the models then see less, which costs precision and never truth.

    Attributes:
        spec: features of users and candidates.
    """

    spec: FeatureSpec

    @cached_property
    def _user(self) -> list[int]:
        return _numeric(self.spec.user)

    @cached_property
    def _candidate(self) -> list[int]:
        return _numeric(self.spec.candidate)

    def state(self, seen: Observation, step: Tensor) -> Tensor:
        """What is known before the slate, (B, S).

        Args:
            seen: (B, ...).
            step: of each row in its session, (B,).
        """
        time = step.to(torch.float32)[:, None]
        columns = (seen.user[:, self._user], seen.has_response, seen.history, time, time.log1p())
        return _mixed(torch.cat(columns, dim=1), STATE)

    def items(self, seen: Observation) -> Tensor:
        """Features of each candidate, its appeal among them, (B, N, I); 0 if not eligible."""
        found = seen.candidates[:, :, self._candidate]
        if self.spec.appeal is not None and self.spec.appeal[0] is not None:
            appeal = scores(self.spec, seen.user, seen.candidates)
            found = torch.cat([found, appeal[:, :, None]], dim=2)
        return _mixed(found, ITEM).masked_fill(~seen.mask[:, :, None], 0.0)

    def of_slate(self, state: Tensor, items: Tensor, slates: Tensor) -> Tensor:
        """Inputs of what was shown, (B, F)."""
        index = slates[:, :, None].expand(-1, -1, items.shape[2])
        return joined(state, items.gather(1, index).sum(1))

    def of_target(
        self,
        state: Tensor,
        items: Tensor,
        target: SlateDistribution,
        generator: torch.Generator,
    ) -> Tensor:
        """The same in the mean over the target's slates, (B, F)."""
        if is_small(target, FEW):
            marginals = target.marginals()
        else:
            marginals = target.estimate_marginals(SAMPLES, generator)
        included = marginals.sum(1).to(items)
        return joined(state, torch.einsum("bn,bni->bi", included, items))


def joined(state: Tensor, items: Tensor) -> Tensor:
    """State (B, S) and items (B, I), and their products where those are few enough."""
    parts = [state, items]
    if state.shape[1] * items.shape[1] <= PRODUCTS:
        parts.append((state[:, :, None] * items[:, None]).flatten(1))
    return torch.cat(parts, dim=1)


def narrow(items: Tensor) -> Tensor:
    """Items (B, N, I) in few columns; the last one, which holds the appeal, stays."""
    return torch.cat([_mixed(items[..., :-1], SLOT_ITEM - 1), items[..., -1:]], dim=-1)


def is_small(distribution: SlateDistribution, most: int = ENUMERATED) -> bool:
    """Whether marginals are exact at little cost: of so many ordered slates, or in closed form."""
    certain = distribution.epsilon == 0 and distribution.temperature == 0
    if certain or distribution.epsilon == 1:
        return True
    return math.perm(distribution.mask.shape[1], distribution.slate_size) <= most


def _numeric(features: tuple[Feature, ...]) -> list[int]:
    """Columns whose size means something: all but ids."""
    kept: list[int] = []
    first = 0
    for feature in features:
        if feature.kind != "id":
            kept += range(first, first + feature.size)
        first += feature.size
    return kept


def _mixed(columns: Tensor, most: int) -> Tensor:
    """(..., C) as at most so many columns."""
    size = columns.shape[-1]
    if size <= most:
        return columns
    generator = torch.Generator().manual_seed(size)
    mixed: Tensor = columns @ (torch.randn((size, most), generator=generator) / size**0.5)
    return mixed
