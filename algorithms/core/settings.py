"""Settings that columnar algorithms have, strictly checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Widths = tuple[Annotated[int, Field(ge=1)], ...]
"""Of a network's layers."""


class ActingSettings(BaseModel):
    """How an algorithm explores while it samples; every algorithm has these.

    Attributes:
        epsilon: probability of a uniformly random item, slot by slot, to begin with.
        epsilon_final: the same once `epsilon_steps` have passed.
        epsilon_steps: user-steps over which epsilon moves linearly.
        temperature: of the softmax over log-weights; 0 shows the best slate.
        stagger_steps: length of the run-in that spreads the first sessions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epsilon: float = Field(0.0, ge=0, le=1)
    epsilon_final: float | None = Field(None, ge=0, le=1)
    epsilon_steps: int = Field(0, ge=0)
    temperature: float = Field(0.0, ge=0)
    stagger_steps: int = Field(64, ge=0)

    def epsilon_at(self, steps: int) -> float:
        """Epsilon after so many user-steps."""
        if self.epsilon_final is None:
            return self.epsilon
        done = 1.0 if steps >= self.epsilon_steps else steps / self.epsilon_steps
        return self.epsilon + done * (self.epsilon_final - self.epsilon)


class Settings(ActingSettings):
    """Settings of algorithms that learn by gradient steps; RLlib's names where RLlib has one.

    Attributes:
        gamma: discount of a step.
        lr: peak learning rate of Adam.
        lr_schedule: `cosine` falls to 0 at `schedule_steps`; `constant` stays.
        warmup_steps: user-steps over which the learning rate rises from 0.
        schedule_steps: user-steps at which the schedules end; the run's budget if not given.
        minibatch_size: rows a gradient step.
        num_epochs: passes over each batch of fresh rows.
        grad_clip: largest norm of the gradient.
    """

    gamma: float = Field(1.0, ge=0, le=1)
    lr: float = Field(2e-3, gt=0)
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = Field(50_000, ge=0)
    schedule_steps: int | None = Field(None, gt=0)
    minibatch_size: int = Field(1024, ge=1)
    num_epochs: int = Field(1, ge=1)
    grad_clip: float = Field(10.0, gt=0)
