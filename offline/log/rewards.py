"""The named functions from raw responses to a reward."""

from __future__ import annotations

import numpy as np

from envs.spec import FeatureSpec
from offline.log.rows import Array
from offline.log.schema import LogError

_OF_CLICKED = {
    "clicked_watchtime_reward": "watch_time",
    "clicked_engagement_reward": "engagement",
    "total_clicks_reward": "click",
    "clicks": "click",
}
"""By name, the response feature that counts where a document was clicked."""


def check_reward(name: str, spec: FeatureSpec) -> None:
    """Refuse a reward that responses do not tell.

    Raises:
        LogError: no function of that name is known, or its feature is missing.
    """
    features = [feature.name for feature in spec.response if feature.size == 1]
    if _OF_CLICKED.get(name, name) not in features:
        known = [key for key, feature in _OF_CLICKED.items() if feature in features]
        raise LogError(
            f"'{name}' is no reward that these responses tell; name one of "
            f"{', '.join(dict.fromkeys(known + features))} with --reward"
        )


def rewards(name: str, spec: FeatureSpec, response: Array) -> Array:
    """Rewards of slates.

    Args:
        name: of the function, or of a response feature, which is summed over the slots.
        spec: of the responses.
        response: (rows, K, R); zeros where a slot is padding.

    Returns:
        (rows,) float32.

    Source: the reward functions of RecSim, which sum over the clicked documents.
    """
    feature = _OF_CLICKED.get(name, name)
    worth = response[..., spec.response_slice(feature).start]
    if name in _OF_CLICKED:
        clicked = response[..., spec.response_slice("click").start] > 0
        worth = np.where(clicked, worth, np.float32(0))
    found: Array = worth.sum(axis=1, dtype=np.float32)
    return found
