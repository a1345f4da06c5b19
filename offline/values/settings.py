"""Settings of offline learners of values, strictly checked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from algorithms.core.settings import Widths
from offline.learning.settings import LearnerSettings


class OfflineValueSettings(LearnerSettings):
    """What learning values from a log needs.

    Attributes:
        minibatch_size: windows a gradient step, of `window` rows each.
        window: consecutive rows along which returns are corrected.
        gamma: discount of a step.
        lambda_: of the returns; 0 bootstraps at every step.
        trace: how far returns follow the log where the learned policy would do
            something else. `full` always: values travel fastest, but diverge where
            lambda_ is too large for how far the two are apart; on uniformly random logs
            0.8 held with any target network, 0.9 with slow ones, 1 with none. `retrace`
            as far as it would do so too: safe at any lambda_, whatever was logged.
        target_period: updates between copies to the target network.
        target_rate: share of the new weights in such a copy; 1 replaces the old ones.
        penalty: weight of the conservative penalty; 0 is plain Q-learning.
        hidden: widths of the layers over user and history.
        item_hidden: widths of the layers over a candidate; none takes it as it is.
        layer_norm: normalise each layer over user and history.
        value_scale: unit of the network's outputs, in the reward's unit.
        initial_value: of every state before training, in the reward's unit.
    """

    minibatch_size: int = Field(32, ge=1)
    window: int = Field(32, ge=1)
    gamma: float = Field(1.0, ge=0, le=1)
    lambda_: float = Field(0.8, ge=0, le=1)
    trace: Literal["full", "retrace"] = "full"
    target_period: int = Field(16, ge=1)
    target_rate: float = Field(1.0, gt=0, le=1)
    penalty: float = Field(0.1, ge=0)
    hidden: Widths = (128, 128)
    item_hidden: Widths = ()
    layer_norm: bool = True
    value_scale: float = Field(50.0, gt=0)
    initial_value: float = 160.0

    def network(self) -> dict[str, Any]:
        """What the online agents call the same."""
        names = ("hidden", "item_hidden", "layer_norm", "value_scale", "initial_value", "gamma")
        return {name: getattr(self, name) for name in names}
