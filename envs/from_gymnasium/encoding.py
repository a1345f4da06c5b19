"""Gymnasium's observation and action spaces as features of users and items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.spec import Feature, FeatureSpec, number, one_hot, vector

Encoder = Callable[[Sequence[Any]], NDArray[np.float64]]
"""Turns observations of several environments into rows of user columns."""


def user_feature(name: str, space: spaces.Space[Any]) -> tuple[Feature, Encoder]:
    """How an observation is seen: one-hot if discrete, otherwise flattened to a vector.

    The vector's declared range is that of its widest column; it may be infinite.

    Args:
        name: of the environment, for the error.
        space: of its observations.

    Raises:
        ValueError: the space has no fixed number of columns.
    """
    if isinstance(space, spaces.Discrete):
        start, eye = int(space.start), np.eye(int(space.n))
        return one_hot("observation", int(space.n)), lambda seen: eye[np.asarray(seen) - start]
    flat = spaces.flatten_space(space) if space.is_np_flattenable else None
    if not isinstance(flat, spaces.Box):
        raise ValueError(
            f"the observations of '{name}' are {space}, which has no fixed number of columns; "
            "use an environment whose observations can be flattened"
        )
    feature = vector("observation", flat.shape[0], float(flat.low.min()), float(flat.high.max()))
    if isinstance(space, spaces.Box):
        return feature, lambda seen: np.asarray(seen, np.float64).reshape(len(seen), -1)
    return feature, lambda seen: np.stack(
        [np.asarray(spaces.flatten(space, each), np.float64) for each in seen]
    )


def item_features(name: str, space: spaces.Space[Any]) -> tuple[tuple[Feature, ...], int]:
    """What an action is described by, and how many there are to choose from.

    Discrete actions are candidates, one-hot. A box of actions is made by the
    agent: a number for each component, with its bounds, and nothing to choose from.

    Raises:
        ValueError: actions of any other kind.
    """
    if isinstance(space, spaces.Discrete):
        return (one_hot("action", int(space.n)),), int(space.n)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        bounds = zip(space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
        return tuple(number(f"action_{i}", *pair) for i, pair in enumerate(bounds)), 1
    raise ValueError(
        f"the actions of '{name}' are {space}; allowed are Discrete and Box spaces of real numbers"
    )


def spec_of(
    name: str, observations: spaces.Space[Any], actions: spaces.Space[Any]
) -> tuple[FeatureSpec, Encoder, int]:
    """The feature spec of an environment, its encoder, and N."""
    seen, encoder = user_feature(name, observations)
    items, count = item_features(name, actions)
    spec = FeatureSpec(
        user=(seen,),
        candidate=items,
        response=(number("click", 0.0, 1.0), number("reward")),
        actions="slate" if isinstance(actions, spaces.Discrete) else "box",
    )
    return spec, encoder, count
