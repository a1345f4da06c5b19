"""Columns for the estimators of slates, of sessions of one step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from envs.spec import FeatureSpec
from offline.log.rows import Array
from offline.ope.slates import pseudo_inverse_weights

_CLOSE = 1e-4


class Split:
    """Finds the part of the reward that each slot brought.

    A response column is the split where its sum over the slots, all of them or only
    those that were clicked, is the reward of every row.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        """Every response column may be it."""
        columns = {f.name: spec.response_slice(f.name).start for f in spec.response if f.size == 1}
        self._click = spec.response_slice("click").start
        # `click` first: where other columns add up to the reward too, by chance.
        names = sorted(columns, key=lambda name: name != "click")
        self._parts: dict[tuple[int, bool], list[Array]] = {
            (columns[name], clicked): [] for name in names for clicked in (False, True)
        }

    def add(self, reward: Array, response: Array) -> None:
        """Look at more rows.

        Args:
            reward: (rows,).
            response: (rows, K, R).
        """
        for way in list(self._parts):
            column, clicked = way
            part = response[:, :, column].astype(np.float64)
            if clicked:
                part = part * response[:, :, self._click]
            if np.allclose(part.sum(1), reward, rtol=_CLOSE, atol=_CLOSE):
                self._parts[way].append(part)
            else:
                del self._parts[way]

    def slot_rewards(self) -> Array | None:
        """Of all rows, (rows, K); `None` where no column adds up to the reward."""
        for parts in self._parts.values():
            return np.concatenate(parts)
        return None


def marginal_logs(distribution: SlateDistribution, slates: Tensor) -> Tensor:
    """Log-probability that a slot shows its item, whatever the others show, (B, K)."""
    marginals = distribution.marginals()
    return marginals.gather(2, slates[:, :, None])[:, :, 0].log()


def pseudo_inverse(
    behaviour: SlateDistribution, target: SlateDistribution, slates: Tensor
) -> Array:
    """Weights of the pseudo-inverse estimator, (B,)."""
    return pseudo_inverse_weights(
        slates.numpy(), behaviour.pairwise().numpy(), target.marginals().numpy()
    )


def in_double(distribution: SlateDistribution) -> SlateDistribution:
    """The same with log-weights in float64."""
    return replace(distribution, log_weights=distribution.log_weights.double())


def slot_inputs(items: Tensor, slates: Tensor) -> Tensor:
    """Inputs of a linear model of slots: the slot, its item, and the items before, (B, K, F).

    Args:
        items: features of candidates, (B, N, I).
        slates: shown, (B, K).
    """
    shown = items.gather(1, slates[:, :, None].expand(-1, -1, items.shape[2]))
    return _by_slot(shown, _earlier(shown))


def mean_slot_inputs(items: Tensor, slates: Tensor, target: SlateDistribution) -> Tensor:
    """The same in the mean over the target's item in each slot, after the shown ones."""
    taken = torch.zeros_like(target.mask)
    means = []
    for slot in range(slates.shape[1]):
        chance = target.conditional(taken[:, None], slot).exp()[:, 0].to(items)
        means.append(torch.einsum("bn,bni->bi", chance, items))
        taken = taken.scatter(1, slates[:, slot : slot + 1], True)
    shown = items.gather(1, slates[:, :, None].expand(-1, -1, items.shape[2]))
    return _by_slot(torch.stack(means, dim=1), _earlier(shown))


def _earlier(shown: Tensor) -> Tensor:
    return shown.cumsum(1) - shown


def _by_slot(item: Tensor, earlier: Tensor) -> Tensor:
    """Own coefficients for the items of each slot, (B, K, K + K I + I)."""
    batch, slots, _ = item.shape
    own = torch.eye(slots).expand(batch, -1, -1)
    crossed = (own[:, :, :, None] * item[:, :, None, :]).flatten(2)
    return torch.cat([own, crossed, earlier], dim=2)


def some(distribution: SlateDistribution, rows: Array) -> SlateDistribution:
    """The distribution of some of its rows."""
    index = torch.from_numpy(rows)
    return replace(
        distribution,
        log_weights=distribution.log_weights[index],
        mask=distribution.mask[index],
        greedy=None if distribution.greedy is None else distribution.greedy[index],
        pinned=None if distribution.pinned is None else distribution.pinned[index],
    )
