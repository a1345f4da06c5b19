"""Settings that columnar algorithms have, strictly checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Widths = tuple[Annotated[int, Field(ge=1)], ...]
"""Of a network's layers."""


def refuse_idle(settings: BaseModel, names: Iterable[str], because: str, instead: str) -> None:
    """Refuse options that would silently do nothing.

    Defaults pass, since everybody has them. Only modes make an option idle; the end
    of a range, such as a discount of 0, does not.

    Args:
        settings: being checked.
        names: of the options that nothing reads here.
        because: why.
        instead: how to make them count.

    Raises:
        ValueError: one of them is not at its default.
    """
    for name in names:
        default, value = type(settings).model_fields[name].default, getattr(settings, name)
        if value != default:
            raise ValueError(
                f"{name} is {_as_given(value)}, which does nothing: {because}; leave it at "
                f"{_as_given(default)}, or {instead}"
            )


def _as_given(value: object) -> str:
    """As it stands in a file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


class ActingSettings(BaseModel):
    """How an algorithm explores while it samples; every algorithm has these.

    Attributes:
        epsilon: probability of a uniformly random item, slot by slot, to begin with.
        epsilon_final: the same once `epsilon_steps` have passed; none stays at epsilon.
        epsilon_steps: user-steps over which epsilon moves linearly (`epsilon_final`).
        temperature: of the softmax over log-weights; 0 shows the best slate.
        stagger_steps: length of the run-in that spreads the first sessions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epsilon: float = Field(0.0, ge=0, le=1)
    epsilon_final: float | None = Field(None, ge=0, le=1)
    epsilon_steps: int = Field(0, ge=0)
    temperature: float = Field(0.0, ge=0)
    stagger_steps: int = Field(64, ge=0)

    @model_validator(mode="after")
    def _schedule_counts(self) -> Self:
        if self.epsilon_final is None:
            refuse_idle(
                self, ["epsilon_steps"], "there is no epsilon_final to move to", "set that, too"
            )
        elif not self.epsilon_steps:
            raise ValueError(
                f"epsilon_final is {self.epsilon_final}, but epsilon_steps is 0, so that epsilon "
                f"({self.epsilon}) would do nothing; set epsilon_steps, or epsilon alone"
            )
        return self

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
