"""Gymnasium spaces of simulators: observations of one user, and slates."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.simulator import Observation, Simulator
from envs.spec import Feature, box


class SlateSpace(spaces.MultiDiscrete):
    """Slates of distinct candidate positions, in slate order."""

    def __init__(
        self,
        num_candidates: int,
        slate_size: int,
        batch: int | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        """One slate, (K,), or `batch` of them, (B, K)."""
        self.num_candidates, self.slate_size, self.batch = num_candidates, slate_size, batch
        shape = (slate_size,) if batch is None else (batch, slate_size)
        super().__init__(np.full(shape, num_candidates), seed=seed)

    def sample(self, mask: Any = None, probability: Any = None) -> NDArray[np.int64]:
        """Slates drawn uniformly.

        Args:
            mask: which candidates may be shown, (N,) or (B, N); all if not given.
            probability: not supported.

        Raises:
            ValueError: probabilities are given, or too few candidates may be shown.
        """
        if probability is not None:
            raise ValueError("slates are sampled uniformly; give a mask instead of a probability")
        key = self.np_random.random((*self.shape[:-1], self.num_candidates))
        if mask is not None:
            eligible = np.broadcast_to(np.asarray(mask, dtype=bool), key.shape)
            if (eligible.sum(axis=-1) < self.slate_size).any():
                raise ValueError(f"the mask leaves fewer than {self.slate_size} candidates")
            key = np.where(eligible, key, 2.0)
        return np.argsort(key, axis=-1)[..., : self.slate_size].astype(np.int64)

    def contains(self, x: Any) -> bool:
        """Whether x holds slates of distinct positions."""
        if not super().contains(np.asarray(x)):
            return False
        ordered = np.sort(np.asarray(x), axis=-1)
        return bool((ordered[..., 1:] != ordered[..., :-1]).all())

    def __repr__(self) -> str:
        batch = "" if self.batch is None else f", batch={self.batch}"
        return f"SlateSpace({self.num_candidates}, {self.slate_size}{batch})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SlateSpace) and bool(
            (self.num_candidates, self.slate_size, self.batch)
            == (other.num_candidates, other.slate_size, other.batch)
        )


@batch_space.register(SlateSpace)
def _batch_slate_space(space: SlateSpace, n: int = 1) -> SlateSpace:
    return SlateSpace(space.num_candidates, space.slate_size, n, seed=space.np_random)


def action_space(simulator: Simulator) -> SlateSpace | spaces.Box:
    """One user's actions: slates, or the numbers of an item that the agent makes."""
    if simulator.spec.actions == "box":
        return box(simulator.spec.candidate)
    return SlateSpace(simulator.num_candidates, simulator.slate_size)


def observation_space(simulator: Simulator) -> spaces.Dict:
    """What an agent sees of one user; keys as in `envs.simulator.Observation`."""
    spec, n, k = simulator.spec, simulator.num_candidates, simulator.slate_size
    return spaces.Dict(
        {
            "user": box(spec.user),
            "candidates": box(spec.candidate, n),
            "mask": spaces.MultiBinary(n),
            "response": box(tuple(_with_zero(feature) for feature in spec.response), k),
            "has_response": spaces.Box(0.0, 1.0, (1,), np.float32),
            "history": spaces.Box(-np.inf, np.inf, (simulator.history.size,), np.float32),
        }
    )


def to_numpy(observation: Observation) -> dict[str, NDArray[Any]]:
    """Arrays of their own, (B, ...) each: what the caller does to them changes no simulator."""
    arrays = {
        name: field.cpu().numpy().astype(np.float32)
        for name, field in zip(observation._fields, observation, strict=True)
    }
    return arrays | {"mask": arrays["mask"].astype(np.int8)}


def _with_zero(feature: Feature) -> Feature:
    """The feature with 0 in its range, which stands for "no previous slate"."""
    low, high = min(feature.low, 0.0), max(feature.high, 0.0)
    return Feature(feature.name, feature.kind, feature.size, low, high)
