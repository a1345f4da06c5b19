"""DQN's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from algorithms.core.settings import Widths, refuse_idle
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
        priority_alpha: power of the error; 0 draws uniformly (`prioritised`).
        priority_beta: power of the importance weights to begin with; rises
            linearly to 1 at `schedule_steps` (`prioritised`).
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
            because = "learning 'fresh' has no target network that could choose"
            refuse_idle(self, ["double"], because, "set learning to 'replay'")
        else:
            because = "learning 'replay' has no traces"
            refuse_idle(self, ["trace"], because, "set learning to 'fresh'")
        if not self.prioritised:
            because = "the replay is not prioritised"
            refuse_idle(self, ["priority_alpha", "priority_beta"], because, "set prioritised")
        if self.actions == "items":
            because = "it is about slates, but actions is 'items'"
            names = ("ordered", "max_slates", "slate_hidden")
            refuse_idle(self, names, because, "set actions to 'slates'")
        return self

    def priority_beta_at(self, steps: int) -> float:
        """Power of the importance weights after so many user-steps."""
        if not self.schedule_steps:
            return self.priority_beta
        done = min(1.0, steps / self.schedule_steps)
        return self.priority_beta + done * (1 - self.priority_beta)
