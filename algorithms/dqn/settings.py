"""DQN's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from algorithms.core.settings import Widths
from algorithms.core.value_settings import ValueSettings


class DQNSettings(ValueSettings):
    """What is DQN's own.

    The loss is the squared error of Q(s, a) to a target, weighted by w where
    the replay is prioritised, in units of `value_scale`:
    mean(w * ((Q(s, a) - G) / value_scale)^2).

    Attributes:
        actions: `items` values each candidate and needs slates of one item;
            `slates` values every slate of the candidates (full-slate Q).
        ordered: whether slates of the same items in another order are other
            actions (`slates`).
        max_slates: more of them are refused (`slates`).
        slate_hidden: widths of the layers over a slate (`slates`).
        trace: what is done about exploratory actions inside a trace (`fresh`),
            as in `algorithms.core.returns`.
        dueling: the value of the state and advantages around their mean,
            Q = V + A - mean of A over what may be shown.
        double: the trained network chooses the next action and the target
            network values it (`replay`); otherwise the latter does both.
        n_step: rewards summed before bootstrapping (`replay`); fewer where the
            session or the fragment ends.
        prioritised: draw rows by their last error (`replay`).
        priority_alpha: power of the error; 0 draws uniformly.
        priority_beta: power of the importance weights to begin with; rises
            linearly to 1 at `schedule_steps`.
    """

    actions: Literal["items", "slates"] = "items"
    ordered: bool = False
    max_slates: int = Field(5000, ge=1)
    slate_hidden: Widths = Field((64,), min_length=1)
    trace: Literal["harutyunyan", "peng", "watkins"] = "harutyunyan"
    dueling: bool = False
    double: bool = True
    n_step: int = Field(1, ge=1)
    prioritised: bool = False
    priority_alpha: float = Field(0.6, ge=0)
    priority_beta: float = Field(0.4, ge=0, le=1)

    @model_validator(mode="after")
    def _fit_together(self) -> DQNSettings:
        if self.learning == "fresh":
            if self.n_step > 1:
                raise ValueError(
                    f"n_step is {self.n_step}, but learning 'fresh' uses lambda-returns; "
                    "set lambda_, or learning to 'replay'"
                )
            if self.prioritised:
                raise ValueError(
                    "prioritised needs a replay buffer, but learning is 'fresh'; "
                    "set learning to 'replay'"
                )
        if self.ordered and self.actions == "items":
            raise ValueError("ordered is about slates, but actions is 'items'; set it to 'slates'")
        return self

    def priority_beta_at(self, steps: int) -> float:
        """Power of the importance weights after so many user-steps."""
        if not self.schedule_steps:
            return self.priority_beta
        done = min(1.0, steps / self.schedule_steps)
        return self.priority_beta + done * (1 - self.priority_beta)
