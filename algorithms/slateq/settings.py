"""SlateQ's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from algorithms.core.optimise import check_method
from algorithms.core.value_settings import ValueSettings

ChoiceName = Literal[
    "multinomial_logit",
    "multinomial_proportional",
    "exponential_cascade",
    "proportional_cascade",
]


class SlateQSettings(ValueSettings):
    """What is SlateQ's own; the paper's variants are settings.

    The loss is the squared error of Q(s, chosen) to a target, where `chosen`
    is the clicked item or no click, both in units of `value_scale`:
    mean(((Q(s, chosen) - G) / value_scale)^2).

    Attributes:
        target: `q_learning` bootstraps from the best slate of the next
            observation, `sarsa` from the slate that was shown there.
        trace: what is done about exploratory slates inside a trace (`fresh`):
            `harutyunyan` corrects by the value of what was chosen, `peng`
            leaves them in, `watkins` cuts there; `sarsa` goes with its target.
        act_optimiser: finds the slate to show: `exact`, `greedy` or `top_k`.
        target_optimiser: finds the slate to bootstrap from.
        no_click_value: `learned`, or `zero` as in the paper.
        choice_model: what the agent assumes of the user's choice.
        choice_scores: where the assumed model's scores come from: `appeal`,
            the world's declared dot product, or `learned` from the choices seen.
        choice_no_click_mass: score of no click, for multinomial models.
        choice_min_normalizer: subtracted from scores, for proportional models.
        choice_attention_prob: probability of looking on, for cascades.
        choice_score_scaling: factor from score to probability, for cascades.
    """

    target: Literal["q_learning", "sarsa"] = "q_learning"
    trace: Literal["harutyunyan", "peng", "watkins", "sarsa"] = "harutyunyan"
    act_optimiser: Literal["exact", "greedy", "top_k"] = "exact"
    target_optimiser: Literal["exact", "greedy", "top_k"] = "exact"
    no_click_value: Literal["learned", "zero"] = "learned"
    choice_model: ChoiceName = "multinomial_proportional"
    choice_scores: Literal["appeal", "learned"] = "appeal"
    choice_no_click_mass: float = 1.0
    choice_min_normalizer: float = -1.0
    choice_attention_prob: float = Field(0.65, ge=0, le=1)
    choice_score_scaling: float = Field(0.05, ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> SlateQSettings:
        check_method(self.act_optimiser, self.choice_model)
        check_method(self.target_optimiser, self.choice_model)
        if self.choice_scores == "learned" and self.choice_model != "multinomial_logit":
            raise ValueError(
                f"choice_scores 'learned' learns a multinomial logit, not {self.choice_model}; "
                "set choice_model to 'multinomial_logit'"
            )
        if (self.trace == "sarsa") != (self.target == "sarsa") and self.learning == "fresh":
            raise ValueError(
                f"the target '{self.target}' does not go with the trace '{self.trace}'; "
                "'sarsa' is both or neither"
            )
        return self
