"""Settings of algorithms that learn values by gradient steps."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from algorithms.core.settings import Settings, Widths, refuse_idle

_OF_REPLAY = ("replay_capacity", "replay_ratio", "learning_starts", "target_update_steps")


class ValueSettings(Settings):
    """What learning values needs, from fresh fragments or from a replay buffer.

    Attributes:
        learning: `fresh` learns once from each fragment, with lambda-returns
            of the collecting network; `replay` from a buffer, with targets of
            a target network.
        lambda_: of the lambda-returns (`fresh`).
        hidden: widths of the layers over user and history.
        item_hidden: widths of the layers over a candidate; none takes it as it is.
        layer_norm: normalise each layer over user and history.
        value_scale: unit of the network's outputs, in the reward's unit.
        initial_value: of every state before training, in the reward's unit.
        replay_capacity: steps kept (`replay`).
        replay_ratio: rows learned from for each step sampled (`replay`).
        learning_starts: steps sampled before learning begins (`replay`).
        target_update_steps: steps sampled between copies to the target network, which are
            made after whole fragments (`replay`).
    """

    learning: Literal["fresh", "replay"] = "fresh"
    lambda_: float = Field(0.9, ge=0, le=1)
    hidden: Widths = (128, 128)
    item_hidden: Widths = ()
    layer_norm: bool = True
    value_scale: float = Field(50.0, gt=0)
    initial_value: float = 160.0
    replay_capacity: int = Field(100_000, ge=1)
    replay_ratio: float = Field(4.0, gt=0)
    learning_starts: int = Field(10_000, ge=0)
    target_update_steps: int = Field(10_000, ge=1)

    @model_validator(mode="after")
    def _learning_counts(self) -> Self:
        if self.learning == "fresh":
            because = "learning 'fresh' has no replay buffer and no target network"
            refuse_idle(self, _OF_REPLAY, because, "set learning to 'replay'")
        else:
            because = "learning 'replay' has no lambda-returns"
            refuse_idle(self, ["lambda_"], because, "set learning to 'fresh'")
        if not self.hidden:
            because = "there are no layers to normalise, as hidden is empty"
            refuse_idle(self, ["layer_norm"], because, "give hidden widths")
        return self
