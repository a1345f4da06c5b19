"""A conditional logit over candidates, slot by slot without repetition (Plackett-Luce).

The log-weight of a candidate is linear in its features, in their products with
what is known of the user, and holds a constant for each value of an id:

    s(x, c) = x . w + x . M c + sum over ids of b[id]

and a slot shows a remaining eligible candidate with probability proportional to
exp(s). Source: McFadden (1974), "Conditional logit analysis of qualitative choice
behavior"; Plackett (1975), "The analysis of permutations", for the slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from envs.spec import Feature, FeatureSpec
from offline.log import Rows

CONTEXTS = ("none", "user", "history")
_ITERATIONS = 200


class Inputs(NamedTuple):
    """What the model reads; R rows.

    Attributes:
        items: numbers of the candidates, (R, N, D').
        ids: ids of the candidates, (R, N, I) int64, 0 for unknown, else one more.
        context: what is known of the user, (R, C).
        mask: eligible candidates, (R, N).
        slates: shown positions, (R, K), -1 where there are fewer slots.
        pinned: positions fixed from outside, (R, K), -1 where free.
    """

    items: Tensor
    ids: Tensor
    context: Tensor
    mask: Tensor
    slates: Tensor
    pinned: Tensor

    def take(self, rows: Tensor) -> Inputs:
        """Some rows, by number or by flags."""
        return Inputs(*(field[rows] for field in self))


@dataclass(frozen=True)
class Reader:
    """Finds the model's inputs in rows of a log.

    Attributes:
        spec: features of users and candidates.
        context: `none`, `user`, or `history` for the user and the session's history.
    """

    spec: FeatureSpec
    context: str

    def __call__(self, rows: Rows) -> Inputs:
        """The inputs of all rows."""
        tensors = rows.tensors(("user", "candidates", "mask", "history", "slate", "pinned"))
        candidates = tensors["candidates"]
        known = {
            "none": [],
            "user": [tensors["user"][:, _columns(self.spec.user)]],
            "history": [tensors["user"][:, _columns(self.spec.user)], tensors["history"]],
        }[self.context]
        return Inputs(
            candidates[..., _columns(self.spec.candidate)],
            candidates[..., _columns(self.spec.candidate, ids=True)].long() + 1,
            torch.cat([candidates.new_zeros((len(rows), 0)), *known], dim=1),
            tensors["mask"],
            tensors["slate"],
            tensors["pinned"],
        )

    @property
    def id_counts(self) -> tuple[int, ...]:
        """How many values each id of a candidate has, unknown among them."""
        return tuple(int(f.high) + 2 for f in self.spec.candidate if f.kind == "id")


def _columns(features: tuple[Feature, ...], ids: bool = False) -> list[int]:
    kinds = [feature.kind for feature in features for _ in range(feature.size)]
    return [column for column, kind in enumerate(kinds) if (kind == "id") == ids]


@dataclass(frozen=True, eq=False)
class Logit:
    """A fitted model.

    Attributes:
        weights: of the features, (D',).
        products: of features and context, (D', C).
        constants: of the values of each id.
        center: of the context, (C,), taken off before it is multiplied.
    """

    weights: Tensor
    products: Tensor
    constants: tuple[Tensor, ...]
    center: Tensor

    def scores(self, inputs: Inputs) -> Tensor:
        """Log-weights, (R, N)."""
        direction = self.weights + (inputs.context - self.center) @ self.products.T
        found = (inputs.items @ direction[:, :, None]).squeeze(2)
        for number, constants in enumerate(self.constants):
            found = found + constants[inputs.ids[..., number]]
        return found


def fit(inputs: Inputs, id_counts: tuple[int, ...], ridge: float) -> Logit:
    """The model that explains what was shown best.

    Args:
        inputs: at least a row.
        id_counts: values of each id.
        ridge: half of it times the squared coefficients, in standard deviations of what
            they multiply, is taken off the log-likelihood of all rows.

    The objective is concave: where ridge is positive it has one maximum.
    """
    item_scale = _deviation(inputs.items[inputs.mask])
    scale, center = _deviation(inputs.context), inputs.context.mean(0)
    scaled = inputs._replace(
        items=inputs.items / item_scale, context=(inputs.context - center) / scale
    )
    shapes = [(len(item_scale),), (len(item_scale), len(scale)), *((n,) for n in id_counts)]
    free = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    optimiser = torch.optim.LBFGS(
        free, max_iter=_ITERATIONS, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )
    groups = by_slots(inputs.slates)

    def loss() -> Tensor:
        optimiser.zero_grad()
        model = Logit(free[0], free[1], tuple(free[2:]), torch.zeros_like(center))
        likelihood = log_probs(model.scores(scaled), scaled, groups).sum()
        size = sum((one * one).sum() for one in free)
        negative: Tensor = (0.5 * ridge * size - likelihood) / len(inputs.mask)
        negative.backward()
        return negative

    optimiser.step(loss)
    weights, products, *constants = (one.detach() for one in free)
    return Logit(
        weights / item_scale,
        products / (item_scale[:, None] * scale),
        tuple(constants),
        center,
    )


def _deviation(values: Tensor) -> Tensor:
    if not values.shape[1]:
        return values.new_ones(0)
    found = values.std(0, correction=0)
    return torch.where(found > 1e-6, found, torch.ones_like(found))


def by_slots(slates: Tensor) -> list[tuple[int, Tensor]]:
    """Numbers of rows, by how many slots they have."""
    sizes = (slates >= 0).sum(1)
    return [(int(size), (sizes == size).nonzero().squeeze(1)) for size in sizes.unique()]


def slot_log_probs(
    scores: Tensor, inputs: Inputs, groups: list[tuple[int, Tensor]] | None = None
) -> Tensor:
    """Log-probability of each slot given the earlier ones, (R, K); 0 where there is none."""
    found = torch.zeros(inputs.slates.shape)
    for size, rows in by_slots(inputs.slates) if groups is None else groups:
        pinned = inputs.pinned[rows, :size]
        stated = SlateDistribution(
            scores[rows],
            inputs.mask[rows],
            size,
            pinned=pinned if bool((pinned >= 0).any()) else None,
        )
        slots = stated.slot_log_prob(inputs.slates[rows, :size])
        padded = torch.nn.functional.pad(slots, (0, found.shape[1] - size))
        found = found.index_copy(0, rows, padded)
    return found


def log_probs(scores: Tensor, inputs: Inputs, groups: list[tuple[int, Tensor]]) -> Tensor:
    """Log-probability of each slate, (R,)."""
    return slot_log_probs(scores, inputs, groups).sum(1)


def conditionals(scores: Tensor, inputs: Inputs) -> list[tuple[Tensor, Tensor]]:
    """Probabilities of all candidates in each free slot, given what earlier slots showed.

    Returns:
        For each slot that is free and offers a choice: probabilities, and whether the
        candidate was shown there, (pairs,) each.
    """
    padded = torch.nn.functional.pad(inputs.mask, (1, 0))  # pins of -1 land in column 0
    free = padded.scatter(1, inputs.pinned + 1, False)[:, 1:]
    found = []
    for slot in range(inputs.slates.shape[1]):
        shown = inputs.slates[:, slot]
        chosen = (shown >= 0) & (inputs.pinned[:, slot] < 0)
        rows = (chosen & (free.sum(1) > 1)).nonzero().squeeze(1)
        available = free[rows]
        chances = scores[rows].masked_fill(~available, -torch.inf).softmax(1)
        is_shown = torch.arange(free.shape[1]) == shown[rows, None]
        found.append((chances[available], is_shown[available]))
        free = free & ~((torch.arange(free.shape[1]) == shown[:, None]) & chosen[:, None])
    return found


def as_numpy(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A float32 array."""
    return tensor.detach().numpy().astype(np.float32)
