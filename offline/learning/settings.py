"""Settings that all offline learners have, strictly checked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LearnerSettings(BaseModel):
    """How a learner takes gradient steps, and how its policy explores.

    Attributes:
        lr: peak learning rate of Adam.
        lr_schedule: `cosine` falls to 0 at the end of the budget; `constant` stays.
        warmup_updates: over which the learning rate rises from 0.
        minibatch_size: rows a gradient step.
        grad_clip: largest norm of the gradient.
        epsilon: of the exported policy where it explores: probability of a uniformly
            random item, slot by slot.
        temperature: of the same, of the softmax over log-weights; 0 shows the best slate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lr: float = Field(2e-3, gt=0)
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    warmup_updates: int = Field(50, ge=0)
    minibatch_size: int = Field(1024, ge=1)
    grad_clip: float = Field(10.0, gt=0)
    epsilon: float = Field(0.0, ge=0, le=1)
    temperature: float = Field(0.0, ge=0)
