"""Sufficient statistics: sums over rows, kept in float64 and merged in any order.

Shapes: n rows, A arms, d columns of a context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Sums = dict[str, Tensor]


def arm_sums(arm: Tensor, feedback: Tensor, num_arms: int) -> Sums:
    """Observations and feedback of each arm.

    Args:
        arm: (n,) int64, -1 where it is unknown; such rows count for nothing.
        feedback: (n,).
        num_arms: A.

    Returns:
        `count` and `total`, (A,) each.
    """
    place = arm + 1
    total = torch.bincount(place, weights=feedback.double(), minlength=num_arms + 1)
    count = torch.bincount(place, minlength=num_arms + 1).double()
    return {"count": count[1:], "total": total[1:]}


def ridge_sums(x: Tensor, feedback: Tensor) -> Sums:
    """What a least-squares fit needs of contexts (n, d) and feedback (n,).

    Returns:
        `gram`, the sum of x x^T, (1, d, d); `moment`, of feedback * x, (1, d);
        `count`, (1,).
    """
    x = x.double()
    return {
        "gram": (x.T @ x)[None],
        "moment": (feedback.double() @ x)[None],
        "count": x.new_full((1,), len(x)),
    }


def ridge_sums_by_arm(x: Tensor, feedback: Tensor, arm: Tensor, num_arms: int) -> Sums:
    """As `ridge_sums` for each arm apart, (A, ...) each; rows of arm -1 count for nothing."""
    x = x.double()
    chosen = torch.nn.functional.one_hot(arm + 1, num_arms + 1)[:, 1:].to(x.dtype)
    spread = chosen[:, :, None] * x[:, None]
    return {
        "gram": (spread.flatten(1).T @ x).view(num_arms, x.shape[1], x.shape[1]),
        "moment": torch.einsum("n,nad->ad", feedback.double(), spread),
        "count": chosen.sum(0),
    }


class Statistics(nn.Module):
    """Sums over all rows so far, or with older rounds forgotten.

    A round is one call of `add`. With a discount each round multiplies what
    came before; with a window only the latest rounds count. Only `add` needs
    these one by one, so they are no buffers, which travel to all who act.
    """

    rounds: Tensor

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], discount: float, window: int) -> None:
        """Nothing seen yet.

        Args:
            shapes: of each sum.
            discount: factor a round, 1 forgets nothing.
            window: rounds kept, 0 keeps all.
        """
        super().__init__()
        self.discount, self.window, self.shapes = discount, window, dict(shapes)
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self._recent: Sums = {}
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int64))

    def __getitem__(self, name: str) -> Tensor:
        """One of the sums."""
        return self.get_buffer(name)

    def add(self, parts: Mapping[str, Tensor]) -> None:
        """Add one round.

        Args:
            parts: each sum of each part of the round's rows, (parts, ...) each.

        Raises:
            ValueError: other shapes, or numbers that are not finite; nothing is changed.
        """
        fresh = {name: self._merged(name, parts[name]) for name in self.shapes}
        for name, value in fresh.items():
            kept = self[name]
            if self.window:
                recent = self._rounds_of(name)
                recent[int(self.rounds) % self.window] = value
                kept.copy_(recent.sum(0))
            else:
                kept.mul_(self.discount).add_(value)
        self.rounds += 1

    def replace(self, sums: Sums) -> None:
        """Forget everything and keep these sums instead."""
        for name in self.shapes:
            self[name].copy_(sums[name])

    def learning_state(self) -> dict[str, Any]:
        """The latest rounds, where there is a window; (rounds so far or window, ...) each."""
        filled = min(int(self.rounds), self.window)
        return {name: value[:filled].cpu().clone() for name, value in self._recent.items()}

    def set_learning_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `learning_state`, once the sums are there.

        Raises:
            ValueError: it lacks the rounds that the sums are made of.
        """
        if self.window and int(self.rounds) and not state:
            raise ValueError(
                "this state lacks the rounds of its window, so it cannot be continued; train anew"
            )
        self._recent = {}
        for name, value in state.items():
            found = torch.as_tensor(value)
            self._rounds_of(name)[: len(found)] = found.to(self[name].device)

    def _rounds_of(self, name: str) -> Tensor:
        """Each of the latest rounds, (window, ...), in the order of their numbers modulo it."""
        if name not in self._recent:
            self._recent[name] = self[name].new_zeros((self.window, *self.shapes[name]))
        return self._recent[name]

    def _merged(self, name: str, parts: Tensor) -> Tensor:
        if tuple(parts.shape[1:]) != self.shapes[name]:
            raise ValueError(
                f"'{name}' has shape {tuple(parts.shape[1:])}, but this model's is "
                f"{self.shapes[name]}; give it rows of the features that it was built for"
            )
        merged = parts.double().sum(0)
        if not bool(merged.isfinite().all()):
            raise ValueError(
                f"'{name}' holds a number that is not finite; the rows were refused and the model "
                "is as before, so look for NaN or infinity in their features and feedback"
            )
        return merged
