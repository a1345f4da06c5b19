"""What can be shown of any world: what is observed, under the names that the spec has."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.core.affinity import scores
from envs.simulator import Observation
from envs.spec import Feature, FeatureSpec
from envs.world import Insight

MOST_KINDS = 60
"""Categories with more values than this are no topics: nobody could read them."""
_MOST_COLUMNS = 6


def observed(spec: FeatureSpec, observation: Observation) -> Insight:
    """Numbers and the first category of users and candidates.

    Args:
        spec: of the world.
        observation: of B users.
    """
    items = {
        feature.name: observation.candidates[..., spec.candidate_slice(feature.name)].squeeze(-1)
        for feature in spec.candidate
        if feature.kind == "number"
    }
    if spec.appeal is not None and spec.appeal[0] is not None:
        items["appeal"] = scores(spec, observation.user, observation.candidates)
    category = next((f for f in spec.candidate if _is_category(f)), None)
    if category is None:
        return Insight(_users(spec, observation.user), items)
    columns = observation.candidates[..., spec.candidate_slice(category.name)]
    return Insight(
        _users(spec, observation.user),
        items,
        topic=columns.argmax(dim=-1),
        topic_kind=category.name.replace("_", " "),
        topic_names=tuple(f"{category.name} {number}" for number in range(category.size)),
    )


def _is_category(feature: Feature) -> bool:
    return feature.kind == "one_hot" and feature.size <= MOST_KINDS


def _users(spec: FeatureSpec, user: Tensor) -> dict[str, Tensor]:
    """Numbers as they are, categories by position, short vectors column by column; (B,) each."""
    found: dict[str, Tensor] = {}
    for feature in spec.user:
        columns = user[:, spec.user_slice(feature.name)]
        if feature.size == 1:
            found[feature.name] = columns.squeeze(1)
        elif feature.kind == "one_hot":
            found[feature.name] = columns.argmax(dim=1).to(torch.float32)
        elif feature.size <= _MOST_COLUMNS:
            found |= {f"{feature.name} {i}": columns[:, i] for i in range(feature.size)}
    return found
